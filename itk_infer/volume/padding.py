"""Padding of volumes smaller than a model's window."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.spec import Padding


def pad_volume(
    array: NDArray[np.float32], pads: tuple[tuple[int, int], ...], padding: Padding
) -> NDArray[np.float32]:
    """Surround a volume.

    Args:
        array: (C, Z, Y, X), after intensity.
        pads: Voxels before and after, for Z, Y, X.
        padding: What to put there; ``minimum`` is each channel's own.

    Returns:
        The padded array, or `array` itself where there is nothing to add.
    """
    if not any(before or after for before, after in pads):
        return array
    if padding.mode == "constant":
        return np.pad(array, ((0, 0), *pads), constant_values=np.float32(padding.value))
    if padding.mode == "minimum":
        return np.stack([np.pad(channel, pads, constant_values=channel.min()) for channel in array])
    mode: Any = padding.mode
    return np.pad(array, ((0, 0), *pads), mode=mode)
