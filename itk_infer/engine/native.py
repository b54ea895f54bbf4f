"""Finished slabs brought back from the model's grid to the case's own, slab by slab."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from itk_infer.engine.slabs import Floats, Slab, height_that_fits
from itk_infer.volume.interpolation import ModelGrid, resample_axis


def to_native(slabs: Iterable[Slab], grid: ModelGrid, slab_height: int | None = None) -> Iterator[Slab]:
    """Interpolate linearly onto the native grid; positions outside the model's grid take its edge.

    Only one plane is carried from slab to slab: a native plane needs at most its two neighbours.

    Args:
        slabs: Finished slabs of the model's grid, ascending and without gaps.
        grid: How the two grids correspond.
        slab_height: Native planes a slab at most, by default what fits in memory well.
    """
    along_z, along_y, along_x = grid.axes
    positions = np.clip(along_z.model_positions(), 0, along_z.model - 1)
    rows, columns = along_y.model_positions(), along_x.model_positions()
    ready = 0  # native planes yielded so far
    carried: Floats | None = None
    for slab in slabs:
        planes = slab.logits
        if not along_y.identity:
            planes = resample_axis(planes, rows, 2, "linear")
        if not along_x.identity:
            planes = resample_axis(planes, columns, 3, "linear")
        first = slab.z0
        if carried is not None:
            planes, first = np.concatenate([carried, planes], axis=1), slab.z0 - 1
        last = first + planes.shape[1] - 1
        final = last == along_z.model - 1
        # A plane strictly below `last` has both neighbours here; the last one has no upper neighbour.
        stop = len(positions) if final else int(np.searchsorted(positions, last, side="left"))
        height = slab_height or height_that_fits(len(planes), planes.shape[2:])
        for start in range(ready, stop, height):
            wanted = positions[start : min(stop, start + height)] - first
            yield Slab(start, resample_axis(planes, wanted, 1, "linear"))
        ready = max(ready, stop)
        carried = planes[:, -1:].copy()
