"""Resampling from a case's native grid to the model's grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from itk_infer.arrays import Array, namespace
from itk_infer.errors import InputError
from itk_infer.spec import InputSpec
from itk_infer.spec.model_spec import Interpolation, Resampling
from itk_infer.volume.grid import Grid
from itk_infer.volume.interpolation import AxisMap, ModelGrid, axis_map, needed, resample_axis, shrink_axis

MAX_MODEL_VOXELS = 2**31
MAX_SHRINKING = 100  # maximum native voxels per model voxel along an axis
PART = 1 << 21  # voxels of the source per part


def model_grid(grid: Grid, wanted: InputSpec) -> ModelGrid:
    """The model's grid for a case.

    Args:
        grid: The case's grid, already in the model's orientation.
        wanted: Input block of the spec, with ``spacing`` (new size: see `Resampling`), ``size`` (extents
            coincide), or neither.

    Raises:
        InputError: the model's grid would be too large or too small, as with a wrong spacing in the header.
    """
    axes = []
    sizes = _sizes(grid.size, wanted)
    for axis, (size, spacing) in enumerate(zip(grid.size, grid.spacing, strict=True)):
        target = wanted.spacing[axis] if wanted.spacing else None
        if sizes:
            axes.append(axis_map(size, sizes[axis], 1.0, "edge"))
        elif target is None or abs(target - spacing) <= _nearly(target, wanted.resampling):
            axes.append(AxisMap(size, size, 1.0, 0.0))
        else:
            count = max(1, round(_exact_count(size, spacing, target, wanted.resampling)))
            axes.append(axis_map(size, count, target / spacing, wanted.resampling.alignment))
    result = _with_axis_apart(ModelGrid((axes[0], axes[1], axes[2])), grid, wanted)
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


def _sizes(size: Sequence[int], wanted: InputSpec) -> tuple[int, ...] | None:
    """Size of the model's grid if the spec gives it."""
    if wanted.size is None:
        return None
    if wanted.resampling.aspect == "stretch":
        return tuple(own if given is None else given for own, given in zip(size, wanted.size, strict=True))
    shrinking = max(own / given for own, given in zip(size, wanted.size, strict=True) if given is not None)
    return tuple(
        own if given is None else min(given, max(1, round(own / shrinking)))
        for own, given in zip(size, wanted.size, strict=True)
    )


def _nearly(target: float, rule: Resampling) -> float:
    """Difference in mm up to which a spacing is kept; with ``centers``, that of MONAI."""
    return 1e-3 if rule.size == "centers" else 1e-6 * target


def _exact_count(size: int, spacing: float, target: float, rule: Resampling) -> float:
    """Number of voxels at another spacing, before rounding; see `Resampling`."""
    if rule.size == "centers":
        return (size - 1) * spacing / target + 1
    return spacing / target * size if rule.size == "ratio" else size * spacing / target


def _with_axis_apart(result: ModelGrid, grid: Grid, wanted: InputSpec) -> ModelGrid:
    """The grid with its separately resampled axis; image and logits have one rule each."""
    rule = wanted.resampling.anisotropic
    if rule is None or wanted.spacing is None:
        return result
    targets = tuple(given or own for given, own in zip(wanted.spacing, grid.spacing, strict=True))
    there = coarse_axis(grid.spacing, targets, rule.threshold)
    back = coarse_axis(targets, grid.spacing, rule.threshold)
    axes = tuple(
        replace(axis, back="nearest") if number == back and not axis.identity else axis
        for number, axis in enumerate(result.axes)
    )
    return ModelGrid((axes[0], axes[1], axes[2]), None if there is None else (there, rule.axis_interpolation))


def coarse_axis(current: Sequence[float], new: Sequence[float], threshold: float) -> int | None:
    """The axis that is resampled separately, see `Anisotropic`; None if there is none.

    Args:
        current: Spacing before resampling.
        new: Spacing after resampling.
        threshold: Ratio of the largest to the smallest spacing.
    """
    for spacing in (current, new):
        if max(spacing) / min(spacing) > threshold:
            largest = [axis for axis, value in enumerate(spacing) if max(spacing) / value == 1]
            return largest[0] if len(largest) == 1 else None
    return None


def to_model_grid(
    array: Array, grid: ModelGrid, how: Interpolation, *, clip: bool = False, antialias: bool = False
) -> Array:
    """Resample an array (C, Z, Y, X) to the model's grid; float32, or `array` itself if nothing changes.

    Arrays in host memory are resampled part by part, so that intermediate results stay in the cache.

    Args:
        array: Any number type.
        grid: The model's grid.
        how: Interpolation along the axes that are not resampled separately.
        clip: Keep splines within the range of the channel; of each slice if an axis is resampled separately.
        antialias: Use the mean over a model voxel's extent where linear interpolation shrinks.
    """
    if grid.identity:
        return array
    if antialias and how == "linear":
        for number, axis_map_ in enumerate(grid.axes):
            if not axis_map_.identity:
                array = shrink_axis(array, axis_map_, number + 1)
        return array
    if grid.apart is None:
        return _kept(_resampled(array, grid, how), array, (1, 2, 3) if clip and how == "cubic" else None)
    axis, along = grid.apart
    whole = [AxisMap(n, n, 1.0, 0.0) for n in array.shape[1:]]
    within, alone = list(grid.axes), list(whole)
    within[axis], alone[axis] = whole[axis], grid.axes[axis]
    slices = tuple(other + 1 for other in range(3) if other != axis)
    flat = ModelGrid((within[0], within[1], within[2]))
    result = array
    if not flat.identity:
        result = _kept(_resampled(array, flat, how), array, slices if clip and how == "cubic" else None)
    along_axis = grid.axes[axis]
    return result if along_axis.identity else resample_axis(result, along_axis.native_positions(), axis + 1, along)


def _kept(result: Array, source: Array, axes: tuple[int, ...] | None) -> Array:
    """Limit values to the range of the source over `axes`, in place; None: no limits."""
    if axes is None:
        return result
    xp = namespace(result)
    low, high = (xp.astype(f(source, axis=axes, keepdims=True), xp.float32) for f in (xp.min, xp.max))
    return xp.clip(result, low, high) if xp is not np else np.clip(result, low, high, out=result)


def _resampled(array: Array, grid: ModelGrid, how: Interpolation) -> Array:
    """Resample all axes in the same way."""
    # Shrinking axes first leaves fewer voxels to interpolate along the others.
    order = sorted(range(3), key=lambda i: grid.axes[i].model / grid.axes[i].native)
    changing = [axis for axis in order if not grid.axes[axis].identity]
    if how == "cubic" or not isinstance(array, np.ndarray):  # a spline needs the whole axis
        for axis in changing:
            array = resample_axis(array, grid.axes[axis].native_positions(), axis + 1, how)
        return array
    slow = max(range(3), key=lambda axis: abs(array.strides[axis + 1]))  # parts across it are contiguous in memory
    across = grid.axes[slow]
    positions = across.native_positions()
    result = np.empty((len(array), *grid.size), np.float32)
    step = max(1, PART * across.model // array.size)
    for start in range(0, across.model, step):
        own = positions[start : start + step]
        source = slice(start, start + step) if across.identity else needed(own, across.native)
        part = array[(slice(None),) * (slow + 1) + (source,)]
        for axis in changing:
            if axis == slow:
                part = resample_axis(part, own, axis + 1, how, (source.start, across.native))
            else:
                part = resample_axis(part, grid.axes[axis].native_positions(), axis + 1, how)
        result[(slice(None),) * (slow + 1) + (slice(start, start + step),)] = part
    return result
