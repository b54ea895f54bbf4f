"""Verified writing of label maps: the file is read back and compared before it gets its final name."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from itk_infer.errors import OutputError
from itk_infer.files.commit import new_file, remove
from itk_infer.volume.formats import NIFTI
from itk_infer.volume.marks import INTENT_LABEL, INTENT_OFFSET, PREFIX
from itk_infer.volume.volume import grid_of

if TYPE_CHECKING:
    import SimpleITK as sitk

try:  # several times as fast; wheels exist for most platforms only
    from isal import isal_zlib as deflater
except ImportError:
    deflater = zlib  # type: ignore[misc]
LEVEL = 2  # of compression: label maps take less than at the level of nibabel, which MONAI writes with

# NIfTI stores geometry in 32 bits and directions as quaternions: an error of a few thousandths of a voxel
# at the far corner. A wrong origin, flip or spacing moves it by half a voxel or more.
_TOLERANCE_VOXELS = 0.05


def write_image(image: sitk.Image, final: Path, *, track: bool = False, intent: int = INTENT_LABEL) -> None:
    """Write a 3D or 4D label map, compressed, in the format of the extension; read back, then renamed to `final`.

    SimpleITK reports no error when the disk fills up during the writing of a NIfTI file, and later reads the
    missing voxels as zeros; only reading back detects it.

    Args:
        image: Scalar or vector image. ``.nrrd`` files keep all its metadata, ``.mha`` files only this program's;
            ``.nii`` files cannot hold any, and get the intent code.
        final: The final path: ``.nii``, ``.nii.gz``, ``.mha`` or ``.nrrd``.
        track: Write an intent, which the ledger's writer removes.
        intent: Meaning of the voxels as a NIfTI intent code; other formats have no such field.

    Raises:
        OutputError: it cannot be written, or reads back differently; no file is left then.
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
            if is_nifti or not key.startswith(PREFIX):  # SimpleITK would print a warning and not write it
                image.EraseMetaData(key)
    with new_file(final, track=track) as partial:
        try:
            if is_nifti:
                _write_nifti(image, partial, intent)
            else:
                sitk.WriteImage(image, str(partial), useCompression=True)
            if is_nrrd and image.GetNumberOfComponentsPerPixel() > 1:
                _set_kind_to_list(partial)
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
                "to hold it, choose another `format`"
            )


def _write_nifti(image: sitk.Image, path: Path, intent: int) -> None:
    """Write a NIfTI file and set its intent code, which SimpleITK cannot set."""
    import SimpleITK as sitk

    packed = path.name.lower().endswith(".gz")
    plain = path.with_suffix("") if packed else path
    try:
        sitk.WriteImage(image, str(plain))
        with plain.open("rb+") as file:
            file.seek(INTENT_OFFSET)
            file.write(struct.pack("=h", intent))
        if packed:
            _pack(plain, path)
    finally:
        if packed:  # SimpleITK would read the voxels of this file instead of the compressed ones
            remove(plain)


def _pack(plain: Path, packed: Path) -> None:
    """Compress a file with gzip, without storing a name or time."""
    stream = deflater.compressobj(LEVEL, wbits=zlib.MAX_WBITS | 16)
    with plain.open("rb") as source, packed.open("wb") as target:
        while block := source.read(1 << 20):
            target.write(stream.compress(block))
        target.write(stream.flush())


def _set_kind_to_list(nrrd: Path) -> None:
    """Set the kind of the layers' axis to ``list``, as in 3D Slicer's files; ITK writes ``vector``.

    The word is padded to the same length, so that the voxels stay at the same position in the file.
    """
    with nrrd.open("rb+") as file:
        head = file.read(4096)
        file.seek(head.index(b"\nkinds: vector ") + len(b"\nkinds: "))
        file.write(b"list  ")


def _check_gzip(path: Path) -> None:
    """Read a gzip file to its end, to verify the checksum; SimpleITK stops after the last voxel."""
    with gzip.open(path) as stream:
        while stream.read(1 << 20):
            pass


def _difference(image: sitk.Image, read: sitk.Image) -> str | None:
    """A description of the difference between an image and the one read back; None if they are equal."""
    import SimpleITK as sitk

    if read.GetSize() != image.GetSize() or read.GetPixelID() != image.GetPixelID():
        return "another size or type"
    planes = zip(sitk.GetArrayViewFromImage(read), sitk.GetArrayViewFromImage(image), strict=True)
    if not all(np.array_equal(*pair) for pair in planes):
        return "other voxels"
    return None


def _same_geometry(image: sitk.Image, read: sitk.Image) -> bool:
    """Whether the file has the grid of the image, up to rounding; for a 4D image, that of its volumes."""
    if image.GetDimension() == 4:
        image, read = image[:, :, :, 0], read[:, :, :, 0]
    written, stored = grid_of(image), grid_of(read)
    # `same_as` compares voxel centres, which do not depend on the spacing along an axis of one voxel.
    spacing_kept = np.allclose(stored.spacing, written.spacing, rtol=1e-4, atol=0)
    return bool(spacing_kept and stored.same_as(written, _TOLERANCE_VOXELS))
