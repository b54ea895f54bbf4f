"""The windows that show most of what a network can do."""

from __future__ import annotations

import numpy as np

from itk_infer.arrays import Array, namespace
from itk_infer.engine.slabs import gather
from itk_infer.engine.windows import WindowGrid

SAMPLED = 4  # every so many voxels along each axis are looked at


def probe_windows(array: Array, grid: WindowGrid, count: int) -> Array:
    """The windows of highest variance; a corner of air proves nothing.

    Args:
        array: The padded volume, (C, Z, Y, X).
        grid: Its windows.
        count: How many, at most.

    Returns:
        (N, C, *patch), the busiest first.
    """
    origins = [grid.origin(index) for index in grid]
    dz, dy, dx = grid.patch
    sampled = (array[:, z : z + dz : SAMPLED, y : y + dy : SAMPLED, x : x + dx : SAMPLED] for z, y, x in origins)
    variances = [float(namespace(part).var(part)) for part in sampled]
    best = np.argsort(variances)[::-1][:count]
    return gather(array, [origins[index] for index in best], grid.patch)
