"""Windows with much contrast, on which a network is tested before the first case."""

from __future__ import annotations

import numpy as np

from itk_infer.arrays import Array, namespace
from itk_infer.engine.slabs import gather
from itk_infer.engine.windows import WindowGrid

SAMPLED = 4  # the variance is taken of every fourth voxel along each axis


def probe_windows(array: Array, grid: WindowGrid, count: int) -> Array:
    """Choose the windows of highest variance; windows of air would not show differences between precisions.

    Args:
        array: The padded volume, (C, Z, Y, X).
        grid: Its windows.
        count: Maximum number of windows.

    Returns:
        (N, C, *patch), highest variance first.
    """
    origins = [grid.origin(index) for index in grid]
    dz, dy, dx = grid.patch
    sampled = (array[:, z : z + dz : SAMPLED, y : y + dy : SAMPLED, x : x + dx : SAMPLED] for z, y, x in origins)
    variances = [float(namespace(part).var(part)) for part in sampled]
    best = np.argsort(variances)[::-1][:count]
    return gather(array, [origins[index] for index in best], grid.patch)
