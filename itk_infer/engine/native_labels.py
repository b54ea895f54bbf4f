"""Labels of finished slabs, brought to the case's native grid by nearest neighbour."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.volume.interpolation import ModelGrid
from itk_infer.volume.slab import DecidedSlab

PLANES = 8  # native planes made at once


def takes_nearest(grid: ModelGrid) -> bool:
    """Whether each native voxel takes what one voxel of the model's grid has, which then may be its label."""
    return all(axis.identity or axis.back == "nearest" for axis in grid.axes)


def labels_to_native(slabs: Iterable[DecidedSlab], grid: ModelGrid) -> Iterator[DecidedSlab]:
    """Give every native voxel the label of the nearest voxel of the model's grid.

    Args:
        slabs: Decided slabs on the model's grid, ascending and without gaps, without logits.
        grid: How the two grids correspond; `takes_nearest` must be true.

    Yields:
        Decided slabs on the native grid, ascending and without gaps.
    """
    along_z, along_y, along_x = (
        np.clip(axis.model_positions(), 0, axis.model - 1).astype(np.intp) for axis in grid.axes
    )
    for slab in slabs:
        first, end = np.searchsorted(along_z, (slab.z0, slab.z0 + slab.labels.shape[0])).tolist()
        for start in range(first, end, PLANES):
            planes = along_z[start : min(start + PLANES, end)] - slab.z0
            labels = _picked(slab.labels, planes, along_y, along_x)
            masks = None if slab.masks is None else _picked(slab.masks, planes, along_y, along_x)
            yield DecidedSlab(start, labels, masks)


def _picked(values: NDArray[Any], *indices: NDArray[np.intp]) -> NDArray[Any]:
    """Values (..., Z, Y, X) at the given planes, rows and columns; the last axis is copied for few planes only."""
    planes, rows, columns = indices
    distinct, again = np.unique(planes, return_inverse=True)
    wide = values.take(distinct, axis=-3).take(columns, axis=-1)
    return wide.take(again, axis=-3).take(rows, axis=-2)
