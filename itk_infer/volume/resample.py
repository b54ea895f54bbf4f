"""Resampling from a case's native grid to the model's grid."""

from __future__ import annotations

import numpy as np

from itk_infer.arrays import Array
from itk_infer.errors import InputError
from itk_infer.spec import InputSpec
from itk_infer.spec.model_spec import Interpolation
from itk_infer.volume.grid import Grid
from itk_infer.volume.interpolation import AxisMap, ModelGrid, Positions, axis_map, resample_axis

MAX_MODEL_VOXELS = 2**31
MAX_SHRINKING = 100  # maximum native voxels per model voxel along an axis
PART = 1 << 20  # voxels of the source per part


def model_grid(grid: Grid, wanted: InputSpec) -> ModelGrid:
    """The model's grid for a case.

    Args:
        grid: The case's grid, already in the model's orientation.
        wanted: Input block of the spec, with ``spacing`` (new size = round(size * old / new)), ``size`` (extents
            coincide), or neither.

    Raises:
        InputError: the model's grid would be too large or too small, as with a wrong spacing in the header.
    """
    axes = []
    for axis, (size, spacing) in enumerate(zip(grid.size, grid.spacing, strict=True)):
        target = wanted.spacing[axis] if wanted.spacing else None
        if wanted.size:
            axes.append(axis_map(size, wanted.size[axis], 1.0, "edge"))
        elif target is None or abs(target - spacing) <= 1e-6 * target:
            axes.append(AxisMap(size, size, 1.0, 0.0))
        else:
            count = max(1, round(size * spacing / target))
            axes.append(axis_map(size, count, target / spacing, wanted.resampling.alignment))
    result = ModelGrid((axes[0], axes[1], axes[2]))
    too_large = np.prod([float(n) for n in result.size]) > MAX_MODEL_VOXELS
    too_small = wanted.spacing is not None and any(
        target is not None and size > 1 and target > MAX_SHRINKING * spacing
        for target, size, spacing in zip(wanted.spacing, grid.size, grid.spacing, strict=True)
    )
    if too_large or too_small:
        raise InputError(
            f"at the model's spacing {wanted.spacing} mm this image would have {result.size} voxels (Z Y X) "
            f"instead of {grid.size}; its own spacing is {grid.spacing} mm: check the header"
        )
    return result


def to_model_grid(array: Array, grid: ModelGrid, how: Interpolation) -> Array:
    """Resample an array (C, Z, Y, X) to the model's grid; float32, or `array` itself if nothing changes.

    Arrays in host memory are resampled part by part, so that intermediate results stay in the cache.
    """
    # Shrinking axes first leaves fewer voxels to interpolate along the others.
    order = sorted(range(3), key=lambda i: grid.axes[i].model / grid.axes[i].native)
    changing = [axis for axis in order if not grid.axes[axis].identity]
    if not changing:
        return array

    def sampled(positions: Positions) -> Array:
        part = resample_axis(array, positions, changing[0] + 1, how)
        for axis in changing[1:]:
            part = resample_axis(part, grid.axes[axis].native_positions(), axis + 1, how)
        return part

    first = grid.axes[changing[0]]
    whole = how == "cubic" or not isinstance(array, np.ndarray)  # a spline needs the whole axis
    step = first.model if whole else max(1, PART * array.shape[changing[0] + 1] // array.size)
    if step >= first.model:
        return sampled(first.native_positions())
    result = np.empty((len(array), *grid.size), np.float32)
    for start in range(0, first.model, step):
        where = [slice(None)] * 4
        where[changing[0] + 1] = slice(start, start + step)
        result[tuple(where)] = sampled(first.native_positions()[start : start + step])
    return result
