"""Resampling of label maps to the model's grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from itk_infer.volume.interpolation import ModelGrid
from itk_infer.volume.resample import to_model_grid

TIE = 1e-5  # shares with a smaller difference count as equal


def resample_labels(labels: NDArray[np.integer], grid: ModelGrid) -> NDArray[np.integer]:
    """The label with the largest share at each voxel of the model's grid.

    A share is the label's indicator, interpolated linearly. Where shares are equal, as midway between two
    voxels, the nearest voxel's label is taken if it is among them, else the lowest (nnU-Net's rule). Along an
    axis that is resampled separately, the nearest plane is taken.

    Args:
        labels: (Z, Y, X) on the native grid.
        grid: The model's grid.

    Returns:
        (Z, Y, X) on the model's grid, of the same type; `labels` itself if nothing changes.
    """
    if grid.identity:
        return labels
    if grid.apart is not None:
        grid = replace(grid, apart=(grid.apart[0], "nearest"))
    values = np.unique(labels)
    nearest = to_model_grid(labels[None], grid, "nearest")[0]
    best = np.full(grid.size, -1, np.float32)
    result = np.zeros(grid.size, labels.dtype)
    of_nearest = np.zeros(grid.size, np.float32)
    for value in values:
        share = to_model_grid((labels == value).astype(np.float32)[None], grid, "linear")[0]
        better = share > best + TIE
        best[better] = share[better]
        result[better] = value
        own = nearest == value
        of_nearest[own] = share[own]
    tied = of_nearest >= best - TIE
    result[tied] = nearest[tied].astype(labels.dtype)
    return result
