"""Writing a label map so that what stands under its name is what was meant, and says what it is."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from itk_infer.errors import OutputError
from itk_infer.files.commit import new_file, remove
from itk_infer.volume.marks import INTENT_LABEL, INTENT_OFFSET, PREFIX
from itk_infer.volume.names import NIFTI
from itk_infer.volume.volume import grid_of

if TYPE_CHECKING:
    import SimpleITK as sitk

# NIfTI keeps geometry in 32 bits and turns directions into quaternions: a few thousandths of a
# voxel at the far corner. A wrong origin, flip or spacing is off by half a voxel or more.
_TOLERANCE_VOXELS = 0.05


def write_image(image: sitk.Image, final: Path, *, track: bool = False) -> None:
    """Write a 3D label map, compressed, in the format of the extension; read it back, then give it its name.

    SimpleITK reports no error when the disk fills up under a NIfTI file and later reads the stub as
    zeros, so only reading back tells.

    Args:
        image: Scalar or vector. Its metadata go into ``.nrrd`` files; into ``.mha`` files go those of this
            program, and ``.nii`` files, which hold none, get the intent code of a label map.
        final: The name to appear: ``.nii``, ``.nii.gz``, ``.mha``, ``.nrrd``.
        track: Leave a claim, for whoever keeps a ledger.

    Raises:
        OutputError: it cannot be written, or does not read back as written; nothing is left then.
    """
    import SimpleITK as sitk

    try:
        str(final).encode()
    except UnicodeEncodeError:  # SimpleITK would abort the whole process
        raise OutputError(f"{str(final)!r}: the name is not valid UTF-8; rename the input") from None
    is_nrrd = final.name.lower().endswith(".nrrd")
    is_nifti = final.name.lower().endswith(NIFTI)
    if not is_nrrd and image.GetMetaDataKeys():
        image = sitk.Image(image)
        for key in image.GetMetaDataKeys():
            if is_nifti or not key.startswith(PREFIX):  # dropped in the file, with warnings
                image.EraseMetaData(key)
    with new_file(final, track=track) as partial:
        try:
            if is_nifti:
                _write_nifti(image, partial)
            else:
                sitk.WriteImage(image, str(partial), useCompression=True)
            if is_nrrd and image.GetNumberOfComponentsPerPixel() > 1:
                _call_components_a_list(partial)
            if final.name.lower().endswith(".gz"):
                _check_gzip(partial)
            read = sitk.ReadImage(str(partial))
        except (RuntimeError, EOFError, zlib.error) as error:
            reason = str(error).strip().splitlines()[-1]
            raise OutputError(f"{final}: cannot be written ({reason}); is the disk full?") from error
        difference = _difference(image, read)
        if difference:
            raise OutputError(f"{final}: does not read back as it was written ({difference}); is the disk full?")
        if not _same_geometry(image, read):
            raise OutputError(
                f"{final}: does not read back as it was written (another geometry); this format may not be able "
                "to hold it, choose another one with --format"
            )


def _write_nifti(image: sitk.Image, path: Path) -> None:
    """Write a NIfTI file with the intent code of a label map, which SimpleITK sets no more than it keeps it."""
    import SimpleITK as sitk

    packed = path.name.lower().endswith(".gz")
    plain = path.with_suffix("") if packed else path
    try:
        sitk.WriteImage(image, str(plain))
        with plain.open("rb+") as file:
            file.seek(INTENT_OFFSET)
            file.write(struct.pack("=h", INTENT_LABEL))
        if packed:
            _pack(plain, path)
    finally:
        if packed:  # SimpleITK would read its voxels in place of the packed ones
            remove(plain)


def _pack(plain: Path, packed: Path) -> None:
    """The file as gzip, without a name or time in it."""
    stream = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    with plain.open("rb") as source, packed.open("wb") as target:
        while block := source.read(1 << 20):
            target.write(stream.compress(block))
        target.write(stream.flush())


def _call_components_a_list(nrrd: Path) -> None:
    """Layers are a list of volumes, as 3D Slicer writes them; ITK calls every such axis a vector.

    Padded to the same length, so that the voxels stay where they are.
    """
    with nrrd.open("rb+") as file:
        head = file.read(4096)
        file.seek(head.index(b"\nkinds: vector ") + len(b"\nkinds: "))
        file.write(b"list  ")


def _check_gzip(path: Path) -> None:
    """Read to the end, where the checksum is; SimpleITK stops after the last voxel."""
    with gzip.open(path) as stream:
        while stream.read(1 << 20):
            pass


def _difference(image: sitk.Image, read: sitk.Image) -> str | None:
    """What of `image` the file does not hold."""
    import SimpleITK as sitk

    if read.GetSize() != image.GetSize() or read.GetPixelID() != image.GetPixelID():
        return "another size or type"
    planes = zip(sitk.GetArrayViewFromImage(read), sitk.GetArrayViewFromImage(image), strict=True)
    if not all(np.array_equal(*pair) for pair in planes):
        return "other voxels"
    return None


def _same_geometry(image: sitk.Image, read: sitk.Image) -> bool:
    """Whether the file puts the voxels where they are, up to rounding."""
    meant, found = grid_of(image), grid_of(read)
    # `same_as` looks at voxel centres, which say nothing of the spacing along an axis of one voxel.
    spacing_kept = np.allclose(found.spacing, meant.spacing, rtol=1e-4, atol=0)
    return bool(spacing_kept and found.same_as(meant, _TOLERANCE_VOXELS))
