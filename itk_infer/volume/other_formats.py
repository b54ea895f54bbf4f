"""Image files of formats that are not supported; they are recognised so that a run can report them.

They are recognised by name or, where the name has no known ending, by their first bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from itk_infer.volume.file_start import file_start
from itk_infer.volume.names import SUFFIXES

PACKERS = (".gz", ".bz2", ".xz", ".lzma", ".zst", ".z", ".zip")


@dataclass(frozen=True, slots=True)
class OtherFormat:
    """A format that is not supported.

    Attributes:
        name: One such file, with its article, for messages.
        plural: Several such files, for messages.
        remedy: What the user can do, as an imperative.
        suffixes: Lower-case endings of its files.
        slices: Whether many files of a folder usually form one image.
    """

    name: str
    plural: str
    remedy: str
    suffixes: tuple[str, ...] = ()
    slices: bool = False


DICOM = OtherFormat(
    "named as DICOM, and holds none", "named as DICOM, and hold none", "copy or send them again, or remove them",
    (".dcm", ".dicom", ".ima"), True,
)  # fmt: skip
DAMAGED_DICOM = OtherFormat(
    "a damaged DICOM file", "damaged DICOM files", "copy or send them again, or remove them", (), True
)
PAIR = OtherFormat(
    "an Analyze or NIfTI pair", "Analyze or NIfTI pairs", "save as one .nii.gz file",
    (".hdr", ".img", ".hdr.gz", ".img.gz"),
)  # fmt: skip
PICTURE = OtherFormat(
    "a picture", "pictures", "stack the slices of a volume to a .nii.gz file",
    (".gif", ".jp2"), True,
)  # fmt: skip
ARRAY = OtherFormat(
    "an array without a place in the patient", "arrays without a place in the patient",
    "save as .nii.gz, with spacing and orientation", (".h5", ".hdf5"),
)  # fmt: skip
RAW = OtherFormat(
    "raw voxels without a header", "raw voxels without a header", "write an .mhd or .nhdr header beside it",
    (".raw", ".zraw", ".raw.gz"),
)  # fmt: skip
ZARR = OtherFormat("a Zarr store", "Zarr stores", "save as .nii.gz", (".zarr", ".zarr.zip"))
PACKED = OtherFormat("a packed image", "packed images", "unpack, or pack with gzip as .nii.gz")
ARCHIVE = OtherFormat(
    "an archive",
    "archives",
    "unpack it",
    (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar"),
)
MISNAMED = OtherFormat(
    "an image under a name without its ending", "images under names without their endings",
    f"rename to end in one of {', '.join(SUFFIXES)}",
)  # fmt: skip
OTHER_FORMATS = (
    OtherFormat(
        "a FreeSurfer volume", "FreeSurfer volumes", "convert with mri_convert", (".mgz", ".mgh", ".mgh.gz")
    ),
    DICOM,
    PAIR,
    PICTURE,
    ARRAY,
    RAW,
    ZARR,
    OtherFormat("a MINC volume", "MINC volumes", "convert with mnc2nii", (".mnc", ".mnc.gz", ".mnc2")),
    OtherFormat("an AFNI volume", "AFNI volumes", "convert with 3dAFNItoNIFTI", (".head", ".brik", ".brik.gz")),
    OtherFormat("a Philips volume", "Philips volumes", "convert with dcm2niix", (".par", ".rec")),
    OtherFormat(
        "an image of another format", "images of other formats", "convert to .nii.gz, for instance with 3D Slicer",
        (".gipl", ".gipl.gz", ".vtk", ".vti", ".mrc", ".lsm", ".czi", ".nd2", ".isq", ".aim", ".nia", ".vol"),
    ),
    ARCHIVE,
)  # fmt: skip
BY_SUFFIX = {suffix: form for form in OTHER_FORMATS for suffix in form.suffixes}
# Endings of files that often lie beside images and are not images; these files are never opened.
SIDECARS = (
    ".json", ".bval", ".bvec", ".csv", ".tsv", ".txt", ".md", ".log", ".xml", ".html", ".pdf", ".xlsx", ".xls",
    ".docx", ".yaml", ".yml", ".toml", ".ini", ".py", ".ipynb", ".sh", ".m", ".db", ".lock", ".onnx", ".pth",
    ".pt", ".ckpt", ".safetensors", ".stl", ".ply", ".obj", ".vtp", ".mrml", ".ctbl", ".fcsv", ".tfm", ".xfm",
    ".lta", ".trk", ".tck",
)  # fmt: skip


def other_format(path: Path) -> OtherFormat | None:
    """The unsupported format of a file; None if it is not recognised as an image."""
    form = format_of_name(path.name)
    if form is not None or is_sidecar(path.name):
        return form
    return _format_of_bytes(file_start(path))


def format_of_name(name: str) -> OtherFormat | None:
    """The unsupported format of a name's ending, in upper or lower case; None for other endings."""
    lower = name.lower()
    if lower.endswith(SUFFIXES):
        return None
    for length in (2, 1):  # endings of two parts first
        ending = "".join(f".{part}" for part in lower.split(".")[1:][-length:])
        if ending in BY_SUFFIX:
            return BY_SUFFIX[ending]
    inner, packer = lower.rpartition(".")[::2]
    return PACKED if f".{packer}" in PACKERS and inner.endswith((*SUFFIXES, *BY_SUFFIX)) else None


def is_sidecar(name: str) -> bool:
    """Whether a name has the ending of a file that is not an image, compressed or not."""
    lower = name.lower()
    inner, packer = lower.rpartition(".")[::2]
    return (inner if f".{packer}" in PACKERS else lower).endswith(SIDECARS)


def _format_of_bytes(start: bytes) -> OtherFormat | None:
    if start.startswith((b"NRRD00", b"ObjectType = Image", b"NDims = ")):
        return MISNAMED
    if len(start) >= 348 and any(start.startswith(struct.pack(order + "i", 348)) for order in "<>"):
        return PAIR if start[344:347] == b"ni1" else MISNAMED if start[344:347] == b"n+1" else None
    if start.startswith((b"\x89PNG\r\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*")):
        return PICTURE
    return ARRAY if start.startswith((b"\x93NUMPY", b"\x89HDF\r\n", b"MATLAB 5.0")) else None
