"""Find channels that can be the largest somewhere between voxels, from the values at the voxels only.

Between eight voxels (a cell), a linearly interpolated channel stays within their minimum and maximum. So the
largest channel of a cell is nowhere below the maximum over channels of these minima (`bar`), and a channel that
is below the bar of every cell it touches cannot be the largest there. Cells are as deep as the strip here: after
one reduction along Z, everything is computed on planes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from itk_infer.engine.blocks import BLOCK_VOXELS

Floats = NDArray[np.float32]


def candidates(strip: Floats, columns: Sequence[slice]) -> NDArray[np.bool_]:
    """Find channels that can be the largest in each of several ranges of columns.

    Args:
        strip: Values on the model's grid, (C, Z, Y, X).
        columns: Ranges along X, which may overlap.

    Returns:
        (len(columns), C); at least one channel is true in each range.
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
    # The lowest bar of the cells around each voxel: of four cells, fewer at the edges.
    bar = _least_of_pairs(_least_of_pairs(np.pad(bar, 1, mode="edge"), 0), 1)[:rows, :width]
    reaches = np.concatenate([(largest[part] >= bar).any(axis=1) for part in parts])
    return np.stack([reaches[:, run].any(axis=1) for run in columns])


def _least_of_pairs(values: Floats, axis: int) -> Floats:
    """The smaller of every two neighbours along an axis; unchanged where the axis has one voxel."""
    before = np.moveaxis(values, axis, 0)
    if len(before) == 1:
        return values
    least: Floats = np.moveaxis(np.minimum(before[:-1], before[1:]), 0, axis)
    return least
