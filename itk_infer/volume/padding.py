"""Padding of volumes that are smaller than the model's window."""

from __future__ import annotations

from typing import Any

import numpy as np

from itk_infer.arrays import Array, like, namespace
from itk_infer.spec import Padding
from itk_infer.spec.model_spec import PadTo

Pads = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]  # voxels before and after, for Z, Y, X
NO_PADS: Pads = ((0, 0), (0, 0), (0, 0))


def pads_to(size: tuple[int, int, int], wanted: PadTo | None) -> Pads:
    """Voxels that `PadTo` adds to a volume of this size, Z Y X."""
    if wanted is None:
        return NO_PADS
    pads = []
    for voxels, least, multiple in zip(size, wanted.size, wanted.multiple_of, strict=True):
        first = max(0, least - voxels)
        then = -(voxels + first) % multiple
        pads.append((first // 2 + then // 2, first - first // 2 + then - then // 2))
    return pads[0], pads[1], pads[2]


def padded_size(size: tuple[int, int, int], pads: Pads) -> tuple[int, int, int]:
    """Size of a padded volume, Z Y X."""
    z, y, x = (before + voxels + after for voxels, (before, after) in zip(size, pads, strict=True))
    return z, y, x


def sum_of(one: Pads, other: Pads) -> Pads:
    """The sum of two paddings of a volume."""
    z, y, x = ((a + c, b + d) for (a, b), (c, d) in zip(one, other, strict=True))
    return z, y, x


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
