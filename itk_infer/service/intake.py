"""Checks of uploaded images before they are queued, by content instead of name.

Only single-file formats are accepted: a detached header (``.mhd``, ``.nhdr``) could name files of the server.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

from itk_infer.errors import InputError
from itk_infer.service.refusal import Refusal
from itk_infer.volume.file_start import file_start
from itk_infer.volume.formats import format_of
from itk_infer.volume.formats.layout import check_regular_file
from itk_infer.volume.marks import detached_data

GZIP = b"\x1f\x8b"
METAIMAGE = re.compile(rb"(ObjectType|NDims|Comment|ObjectSubType) *=")
MIB = 1 << 20
TAKEN = "NIfTI (.nii, .nii.gz), NRRD (.nrrd) and MetaImage (.mha), each one file"


def recognised_suffix(path: Path) -> str:
    """The suffix of an image's format, determined from its first bytes.

    Raises:
        Refusal: ``unsupported``.
    """
    start = file_start(path)
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
    if (
        len(start) >= 348
        and start[344:348] == b"n+1\0"
        and 348 in struct.unpack("<i", start[:4]) + struct.unpack(">i", start[:4])
    ):
        return ".nii.gz" if packed else ".nii"
    if start.startswith(b"NRRD0") and not packed:
        return ".nrrd"
    if METAIMAGE.match(start) and not packed:
        return ".mha"
    raise Refusal("unsupported", f"the content is no image of a format that is taken: {TAKEN}")


def check_image(path: Path, max_image: int) -> None:
    """Check the header of an image whose name has the suffix of its format, without decoding voxels.

    Args:
        path: The image.
        max_image: Largest size of its decoded voxels, in bytes.

    Raises:
        Refusal: ``invalid``, ``unsupported`` or ``too_large``.
    """
    form = format_of(path.name)
    if form is None:
        raise Refusal("unsupported", f"the name does not end as one of a format that is taken: {TAKEN}")
    try:
        check_regular_file(path)
        layout = form.check_header(path)
    except InputError as error:
        raise Refusal("invalid", f"the image cannot be used: {_nameless(str(error), path)}") from None
    except (OSError, ValueError, IndexError, struct.error):
        raise Refusal("invalid", "the image's header is damaged; export the image again") from None
    text_header = form.image_io is not None  # a NIfTI header cannot name files
    if layout.data_path != path or (text_header and set(detached_data(path)) - {"LOCAL"}):
        raise Refusal("unsupported", f"the header names another file as its data; what is taken: {TAKEN}")
    if layout.encoding == "other":
        raise Refusal("unsupported", "the voxels are stored in a rare encoding; save the image raw or with gzip")
    if layout.voxel_bytes > max_image:
        raise Refusal(
            "too_large",
            f"the header announces {layout.voxel_bytes / MIB:,.0f} MiB of voxels, more than the "
            f"{max_image / MIB:,.0f} MiB that are taken; crop or resample the image",
        )


def _nameless(sentence: str, path: Path) -> str:
    """A sentence about a file without its name and folder, which are internal to the server."""
    for name in (str(path), path.name):
        sentence = sentence.removeprefix(f"{name}: ").replace(name, "the file")
    return sentence
