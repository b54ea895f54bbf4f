"""The intensity steps of a model spec, carried out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

Floats = NDArray[np.float32]


def apply_intensity(array: NDArray[Any], steps: Sequence[IntensityStep]) -> Floats:
    """Carry out `steps` in order.

    Arithmetic is float32 from the stored values; statistics are taken in float64 over the whole
    volume of a channel, as it is at that point of the chain.

    Args:
        array: (C, Z, Y, X), any number type; left as it is.
        steps: What to do, and to which channels.

    Returns:
        A new array, (C, Z, Y, X) float32, C-contiguous.
    """
    result: Floats = np.array(array, dtype=np.float32, order="C")
    for step in steps:
        chosen = range(len(result)) if step.channels is None else step.channels
        for order, channel in enumerate(chosen):
            _apply(result[channel], step, order)
    return result


def _apply(voxels: Floats, step: IntensityStep, order: int) -> None:
    """One step on one channel, in place; `order` counts the channels the step applies to."""
    match step:
        case Window(level, width):
            _shift_scale(voxels, level - width / 2, width)
            np.clip(voxels, 0, 1, out=voxels)
        case Clip(lower, upper):
            np.clip(voxels, lower, upper, out=voxels)
        case ClipPercentile(lower, upper):
            low, high = np.percentile(voxels, (lower, upper))
            np.clip(voxels, low, high, out=voxels)
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


def _shift_scale(voxels: Floats, shift: float, scale: float) -> None:
    """(voxels - shift) / scale in place; zeros where a constant image leaves no scale."""
    if scale == 0:
        voxels.fill(0)
        return
    voxels -= np.float32(shift)
    voxels /= np.float32(scale)


def _moments(voxels: Floats, mask: str) -> tuple[float, float]:
    """Mean and population standard deviation over `mask`, in float64; (0, 0) over an empty one."""
    chosen: Floats = voxels
    if mask == "nonzero":
        chosen = voxels[voxels != 0]
    elif mask == "above_mean":
        chosen = voxels[voxels > voxels.mean(dtype=np.float64)]
    if not chosen.size:
        return 0.0, 0.0
    mean = float(chosen.mean(dtype=np.float64))
    # In pieces: no float64 copy of the volume.
    pieces = np.array_split(chosen.reshape(-1), max(1, chosen.size >> 20))
    squares = sum(float(np.square(piece.astype(np.float64) - mean).sum()) for piece in pieces)
    deviation = float(np.sqrt(squares / chosen.size))
    # Rounding noise of a constant image is no contrast.
    return mean, deviation if deviation > 1e-7 * max(abs(mean), 1e-30) else 0.0
