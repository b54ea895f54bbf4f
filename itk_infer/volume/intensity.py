"""The intensity steps of a model spec, carried out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from itk_infer.arrays import Array, namespace
from itk_infer.spec.intensity import (
    Clip,
    ClipPercentile,
    DivideByMax,
    IntensityStep,
    MinMax,
    Standardize,
    Window,
    ZScore,
)

PIECE = 1 << 20  # voxels looked at in float64 at a time


def apply_intensity(array: Array, steps: Sequence[IntensityStep]) -> Array:
    """Carry out `steps` in order, where the array is.

    Arithmetic is float32 from the stored values; statistics are taken in float64 over the whole
    volume of a channel, as it is at that point of the chain.

    Args:
        array: (C, Z, Y, X), any number type; left as it is.
        steps: What to do, and to which channels.

    Returns:
        A new array, (C, Z, Y, X) float32, C-contiguous.
    """
    xp = namespace(array)
    result = xp.empty_like(array, dtype=xp.float32, **({"order": "C"} if xp is np else {}))
    result[...] = array
    for step in steps:
        chosen = range(len(result)) if step.channels is None else step.channels
        for order, channel in enumerate(chosen):
            _apply(result[channel], step, order)
    return result


def _apply(voxels: Array, step: IntensityStep, order: int) -> None:
    """One step on one channel, in place; `order` counts the channels the step applies to."""
    match step:
        case Window(level, width):
            _shift_scale(voxels, level - width / 2, width)
            _clip(voxels, 0.0, 1.0)
        case Clip(lower, upper):
            _clip(voxels, lower, upper)
        case ClipPercentile(lower, upper):
            low, high = _percentiles(voxels, (lower, upper))
            _clip(voxels, low, high)
        case MinMax():
            low, high = float(voxels.min()), float(voxels.max())
            _shift_scale(voxels, low, high - low)
        case ZScore(mask):
            mean, deviation = _moments(voxels, mask)
            _shift_scale(voxels, mean, deviation)
        case Standardize(mean_of, std_of):
            mean, deviation = mean_of[order % len(mean_of)], std_of[order % len(std_of)]
            _shift_scale(voxels, mean, deviation)
        case DivideByMax():
            _shift_scale(voxels, 0.0, float(voxels.max()))


def _clip(voxels: Array, lower: float, upper: float) -> None:
    """In place, plane by plane: no second volume."""
    xp = namespace(voxels)
    for plane in voxels:
        plane[...] = xp.clip(plane, lower, upper)


def _shift_scale(voxels: Array, shift: float, scale: float) -> None:
    """(voxels - shift) / scale in place; zeros where a constant image leaves no scale."""
    if scale == 0:
        voxels[...] = 0
        return
    voxels -= float(np.float32(shift))
    voxels /= float(np.float32(scale))


def _percentiles(voxels: Array, shares: tuple[float, float]) -> tuple[float, float]:
    """Percentiles as NumPy takes them: linear between the two nearest ranks."""
    if isinstance(voxels, np.ndarray):
        low, high = np.percentile(voxels, shares)
        return float(low), float(high)
    xp = namespace(voxels)
    ordered = xp.sort(xp.reshape(voxels, (-1,)))
    found = []
    for share in shares:
        rank = share / 100 * (len(ordered) - 1)
        below, above = float(ordered[int(rank)]), float(ordered[min(int(rank) + 1, len(ordered) - 1)])
        found.append(below + (above - below) * (rank - int(rank)))
    return found[0], found[1]


def _moments(voxels: Array, mask: str) -> tuple[float, float]:
    """Mean and population standard deviation over `mask`, in float64; (0, 0) over an empty one."""
    xp, chosen = namespace(voxels), voxels
    if mask == "nonzero":
        chosen = voxels[voxels != 0]
    elif mask == "above_mean":
        chosen = voxels[voxels > float(xp.mean(voxels, dtype=xp.float64))]
    flat = xp.reshape(chosen, (-1,))
    count = flat.shape[0]
    if not count:
        return 0.0, 0.0
    mean = float(xp.mean(flat, dtype=xp.float64))
    squares = 0.0
    for start in range(0, count, PIECE):  # no float64 copy of the volume
        squares = squares + xp.sum(xp.square(xp.astype(flat[start : start + PIECE], xp.float64) - mean))
    deviation = float(squares / count) ** 0.5
    # Rounding noise of a constant image is no contrast.
    return mean, deviation if deviation > 1e-7 * max(abs(mean), 1e-30) else 0.0
