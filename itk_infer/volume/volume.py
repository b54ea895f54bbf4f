"""A volume in memory: its voxels as stored, and their grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import InputError
from itk_infer.volume.grid import Grid
from itk_infer.volume.right_angles import straightened
from itk_infer.volume.same_grid import check_same_grid

if TYPE_CHECKING:
    import SimpleITK as sitk

Channel = tuple[NDArray[Any], Grid]


@dataclass(frozen=True, slots=True)
class Volume:
    """One case's image.

    Attributes:
        array: Voxels, shape (C, Z, Y, X), in their stored type.
        grid: Grid of all channels.
        name: Name in messages.
        warnings: Changes made to the grid, one sentence each.
    """

    array: NDArray[Any]
    grid: Grid
    name: str = "image"
    warnings: tuple[str, ...] = ()


def grid_of(image: sitk.Image) -> Grid:
    """The grid of a 3D SimpleITK image."""
    x, y, z = image.GetSize()
    sx, sy, sz = image.GetSpacing()
    ox, oy, oz = image.GetOrigin()
    return Grid((z, y, x), (sz, sy, sx), (ox, oy, oz), tuple(image.GetDirection()))


def volume_of(images: Sequence[sitk.Image], name: str, names: Sequence[str] | None = None) -> Volume:
    """A volume from SimpleITK images, one per input channel.

    Args:
        images: One image per channel.
        name: Name of the volume in messages.
        names: Names of its channels in messages.

    Raises:
        InputError: an image is not 3D and scalar or holds NaN or infinity, or the channels lie on
            different grids.
    """
    return volume_of_channels([channel_of(image, name) for image in images], name, names)


def channel_of(image: sitk.Image, name: str) -> Channel:
    """A copy of the voxels (Z, Y, X) of a SimpleITK image, and its grid.

    Args:
        image: The image.
        name: Name of the volume in messages.

    Raises:
        InputError: it is not 3D and scalar.
    """
    import SimpleITK as sitk

    if image.GetDimension() != 3:
        raise InputError(f"{name}: has {image.GetDimension()} dimensions; a 3D volume is needed")
    if image.GetNumberOfComponentsPerPixel() != 1 or "complex" in image.GetPixelIDTypeAsString():
        raise InputError(
            f"{name}: voxels are of type '{image.GetPixelIDTypeAsString()}'; one plain number a voxel is needed"
        )
    return sitk.GetArrayFromImage(image), grid_of(image)


def volume_of_channels(channels: Sequence[Channel], name: str, names: Sequence[str] | None = None) -> Volume:
    """A volume from arrays (Z, Y, X) and their grids, one per input channel; a single array is not copied.

    Args:
        channels: Voxels and grid of each channel.
        name: Name of the volume in messages.
        names: Names of its channels in messages.

    Raises:
        InputError: an array holds NaN or infinity, or the channels lie on different grids.
    """
    names = names or [f"channel {index}" for index in range(len(channels))]
    grids, warnings = [], list[str]()
    for (_, own), called in zip(channels, names, strict=True):
        grid, warning = straightened(name if len(channels) == 1 else f"{name}: {called}", own)
        grids.append(grid)
        warnings += [f"{called}: {warning}" if len(channels) > 1 else warning] if warning else []
    for grid, called in zip(grids[1:], names[1:], strict=True):
        warning = check_same_grid(name, (called, grid), (names[0], grids[0]))
        warnings += [warning] if warning else []
    arrays = [array for array, _ in channels]
    array = arrays[0][None] if len(arrays) == 1 else np.stack(arrays)
    if array.dtype.kind == "f":
        bad = sum(int(np.count_nonzero(~np.isfinite(plane))) for plane in array.reshape(-1, *array.shape[2:]))
        if bad:
            raise InputError(
                f"{name}: holds {bad:,} voxels that are NaN or infinite; replace them with real values"
            )
    return Volume(array, grids[0], name, tuple(warnings))


def image_of(array: NDArray[Any], grid: Grid) -> sitk.Image:
    """A SimpleITK image of an array (Z, Y, X) on `grid`."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing(grid.spacing[::-1])
    image.SetOrigin(grid.origin_xyz)
    image.SetDirection(grid.direction_xyz)
    return image
