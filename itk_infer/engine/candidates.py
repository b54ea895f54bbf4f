"""Which channels can be the largest somewhere between voxels, told from the voxels alone.

Between eight voxels a linearly interpolated channel stays within their smallest and largest. So the
winner of a cell reaches at least the highest of all channels' smallest values there, its bar, and a
channel that stays below the bars of all cells it touches cannot win. Cells here are as deep as the
strip: one reduction along Z, and everything after it is on planes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from itk_infer.engine.blocks import BLOCK_VOXELS

Floats = NDArray[np.float32]


def candidates(strip: Floats, columns: Sequence[slice]) -> NDArray[np.bool_]:
    """Channels that can win in each of several runs of columns.

    Args:
        strip: Values of the model's voxels, (C, Z, Y, X).
        columns: Runs along X, which may overlap.

    Returns:
        (len(columns), C); at least one channel of each run is true.
    """
    channels, _, rows, width = strip.shape
    step = max(1, BLOCK_VOXELS // (rows * width))
    parts = [slice(start, start + step) for start in range(0, channels, step)]
    largest = np.empty((channels, rows, width), np.float32)
    bar = np.full((max(1, rows - 1), max(1, width - 1)), -np.inf, np.float32)
    for part in parts:
        np.maximum.reduce(strip[part], axis=1, out=largest[part])
        smallest = np.minimum.reduce(strip[part], axis=1)
        np.maximum(bar, _least_of_pairs(_least_of_pairs(smallest, 1), 2).max(axis=0), out=bar)
    # The lowest bar of the cells around each voxel: four, fewer at the edges.
    bar = _least_of_pairs(_least_of_pairs(np.pad(bar, 1, mode="edge"), 0), 1)[:rows, :width]
    reaches = np.concatenate([(largest[part] >= bar).any(axis=1) for part in parts])
    return np.stack([reaches[:, run].any(axis=1) for run in columns])


def _least_of_pairs(values: Floats, axis: int) -> Floats:
    """The smaller of every two neighbours along an axis; one voxel has no neighbour and stays."""
    before = np.moveaxis(values, axis, 0)
    if len(before) == 1:
        return values
    least: Floats = np.moveaxis(np.minimum(before[:-1], before[1:]), 0, axis)
    return least
