"""Verified writing of label maps: the file is read back and compared before it gets its final name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import OutputError
from itk_infer.files.commit import new_file
from itk_infer.volume.formats import NIFTI
from itk_infer.volume.grid import Grid
from itk_infer.volume.marks import INTENT_LABEL, PREFIX
from itk_infer.volume.same_grid import stored_alike
from itk_infer.volume.volume import grid_of, image_of
from itk_infer.volume.write_nifti import write_nifti

if TYPE_CHECKING:
    import SimpleITK as sitk


def write_volume(
    array: NDArray[Any],
    grid: Grid,
    final: Path,
    keys: Mapping[str, str],
    *,
    track: bool = False,
    intent: int = INTENT_LABEL,
) -> None:
    """Write an array (Z, Y, X), as `write_image` writes an image with these metadata."""
    if _is_nifti(final):
        write_nifti(array, grid, final, track=track, intent=intent)
        return
    image = image_of(array, grid)
    for key, value in keys.items():
        image.SetMetaData(key, value)
    write_image(image, final, track=track)


def write_image(image: sitk.Image, final: Path, *, track: bool = False) -> None:
    """Write a 3D or 4D label map, compressed, in the format of the extension; read back, then renamed to `final`.

    Args:
        image: Scalar or, for ``.nrrd``, vector image. ``.nrrd`` files keep all its metadata, ``.mha`` files only
            this program's; ``.nii`` files cannot hold any, and get the intent code of label maps.
        final: The final path: ``.nii``, ``.nii.gz``, ``.mha`` or ``.nrrd``.
        track: Write an intent, which the ledger's writer removes.

    Raises:
        OutputError: it cannot be written, or reads back differently; no file is left then.
    """
    import SimpleITK as sitk

    if _is_nifti(final):
        volume = image[:, :, :, 0] if image.GetDimension() == 4 else image
        array = sitk.GetArrayViewFromImage(image)
        write_nifti(array, grid_of(volume), final, track=track, intent=INTENT_LABEL)
        return
    try:
        str(final).encode()
    except UnicodeEncodeError:  # SimpleITK would abort the whole process
        raise OutputError(f"{str(final)!r}: the name is not valid UTF-8; rename the input") from None
    is_nrrd = final.name.lower().endswith(".nrrd")
    if not is_nrrd and image.GetMetaDataKeys():
        image = sitk.Image(image)
        for key in image.GetMetaDataKeys():
            if not key.startswith(PREFIX):  # SimpleITK would print a warning and not write it
                image.EraseMetaData(key)
    with new_file(final, track=track) as partial:
        try:
            sitk.WriteImage(image, str(partial), useCompression=True)
            if is_nrrd and image.GetNumberOfComponentsPerPixel() > 1:
                _set_kind_to_list(partial)
            read = sitk.ReadImage(str(partial))
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise OutputError(f"{final}: cannot be written ({reason}); is the disk full?") from error
        difference = _difference(image, read)
        if difference:
            raise OutputError(f"{final}: does not read back as it was written ({difference}); is the disk full?")
        if not stored_alike(grid_of(image), grid_of(read)):
            raise OutputError(
                f"{final}: does not read back as it was written (another geometry); this format may not be able "
                "to hold it, choose another `format`"
            )


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith(NIFTI)


def _set_kind_to_list(nrrd: Path) -> None:
    """Set the kind of the layers' axis to ``list``, as in 3D Slicer's files; ITK writes ``vector``.

    The word is padded to the same length, so that the voxels stay at the same position in the file.
    """
    with nrrd.open("rb+") as file:
        head = file.read(4096)
        file.seek(head.index(b"\nkinds: vector ") + len(b"\nkinds: "))
        file.write(b"list  ")


def _difference(image: sitk.Image, read: sitk.Image) -> str | None:
    """A description of the difference between an image and the one read back; None if they are equal."""
    import SimpleITK as sitk

    if read.GetSize() != image.GetSize() or read.GetPixelID() != image.GetPixelID():
        return "another size or type"
    planes = zip(sitk.GetArrayViewFromImage(read), sitk.GetArrayViewFromImage(image), strict=True)
    if not all(np.array_equal(*pair) for pair in planes):
        return "other voxels"
    return None
