"""A volume in memory: voxels as stored, and the grid they lie on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import InputError
from itk_infer.volume.grid import Grid

if TYPE_CHECKING:
    import SimpleITK as sitk


RIGHT_ANGLE_TOLERANCE = 1e-2  # cosine of the angle between two axes


@dataclass(frozen=True, slots=True)
class Volume:
    """One case's image.

    Attributes:
        array: Voxels, shape (C, Z, Y, X), in the type they were stored in.
        grid: Where they lie; the same for every channel.
        name: What messages call it.
    """

    array: NDArray[Any]
    grid: Grid
    name: str = "image"


def grid_of(image: sitk.Image) -> Grid:
    """The grid of a 3D SimpleITK image."""
    x, y, z = image.GetSize()
    sx, sy, sz = image.GetSpacing()
    ox, oy, oz = image.GetOrigin()
    return Grid((z, y, x), (sz, sy, sx), (ox, oy, oz), tuple(image.GetDirection()))


def volume_of(images: list[sitk.Image], name: str) -> Volume:
    """A volume of one SimpleITK image per input channel.

    Raises:
        InputError: an image is not 3D and scalar, holds NaN or infinity, or the channels lie on
            different grids.
    """
    import SimpleITK as sitk

    for image in images:
        if image.GetDimension() != 3:
            raise InputError(f"{name}: has {image.GetDimension()} dimensions; a 3D volume is needed")
        if image.GetNumberOfComponentsPerPixel() != 1 or "complex" in image.GetPixelIDTypeAsString():
            raise InputError(
                f"{name}: voxels are of type '{image.GetPixelIDTypeAsString()}'; "
                "one plain number a voxel is needed"
            )
        check_right_angles(name, image.GetDirection())
    grids = [grid_of(image) for image in images]
    for index, grid in enumerate(grids[1:], 1):
        if not grid.same_as(grids[0]):
            raise InputError(
                f"{name}: channel {index} lies on another grid than channel 0 ({grid.size} voxels Z Y X at "
                f"{grid.spacing} mm against {grids[0].size} at {grids[0].spacing}); resample them to one grid"
            )
    arrays = [sitk.GetArrayViewFromImage(image) for image in images]
    array = np.array(arrays[0])[None] if len(arrays) == 1 else np.stack(arrays)
    if array.dtype.kind == "f":
        bad = sum(int(np.count_nonzero(~np.isfinite(plane))) for plane in array.reshape(-1, *array.shape[2:]))
        if bad:
            raise InputError(
                f"{name}: holds {bad:,} voxels that are NaN or infinite; replace them with real values"
            )
    return Volume(array, grids[0], name)


def check_right_angles(name: str, direction_xyz: Sequence[float]) -> None:
    """Refuse skewed axes, which a grid cannot describe.

    Args:
        name: What messages call the image.
        direction_xyz: Row-major 3x3 direction cosines.

    Raises:
        InputError: two axes are not at right angles.
    """
    direction = np.reshape(direction_xyz, (3, 3))
    if not np.allclose(direction.T @ direction, np.eye(3), rtol=0, atol=RIGHT_ANGLE_TOLERANCE):
        raise InputError(
            f"{name}: its axes are not at right angles (a tilted gantry?); resample it to a regular grid"
        )


def image_of(array: NDArray[Any], grid: Grid) -> sitk.Image:
    """A SimpleITK image of an array (Z, Y, X) on `grid`."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing(grid.spacing[::-1])
    image.SetOrigin(grid.origin_xyz)
    image.SetDirection(grid.direction_xyz)
    return image
