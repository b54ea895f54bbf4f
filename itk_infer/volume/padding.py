"""Padding of volumes that are smaller than the model's window."""

from __future__ import annotations

from typing import Any

import numpy as np

from itk_infer.arrays import Array, like, namespace
from itk_infer.spec import Padding


def pad_volume(array: Array, pads: tuple[tuple[int, int], ...], padding: Padding) -> Array:
    """Pad a volume.

    Args:
        array: (C, Z, Y, X), after the intensity steps.
        pads: Voxels before and after, for Z, Y, X.
        padding: The mode and value; ``minimum`` is the minimum of each channel.

    Returns:
        The padded array, or `array` itself if all pads are 0.
    """
    if not any(before or after for before, after in pads):
        return array
    xp = namespace(array)
    if padding.mode in ("edge", "reflect"):
        mode: Any = padding.mode
        for axis, around in enumerate(pads, 1):
            indices = np.pad(np.arange(array.shape[axis]), around, mode=mode)
            array = xp.take(array, like(indices, array), axis=axis)
        return array
    inside = tuple(slice(before, before + n) for (before, _), n in zip(pads, array.shape[1:], strict=True))
    size = tuple(before + n + after for (before, after), n in zip(pads, array.shape[1:], strict=True))
    padded = xp.empty_like(array, shape=(len(array), *size)) if xp is np else array.new_empty((len(array), *size))
    for channel, source in zip(padded, array, strict=True):
        channel[...] = float(source.min()) if padding.mode == "minimum" else padding.value
        channel[inside] = source
    return padded
