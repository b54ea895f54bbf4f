"""Straightens axes that are nearly at right angles, and refuses others.

A grid has three orthogonal axes of unit length. A header can hold other axes: directions printed with few
decimals, an affine registration, or the sheared volume of a tilted gantry.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from itk_infer.errors import InputError
from itk_infer.volume.grid import Grid

MAX_DRIFT = 0.5  # voxels; a voxel moved farther would be nearer to its neighbour's position
REPORTED_DRIFT = 0.01  # voxels; smaller movements are not reported
ORTHONORMAL_TOLERANCE = 1e-4  # ITK's: it refuses or changes NIfTI files and masks beyond it


def straightened(name: str, grid: Grid) -> tuple[Grid, str | None]:
    """The grid with the nearest orthonormal direction, and a warning if voxels moved.

    The nearest one in the Frobenius norm is the orthogonal factor of the polar decomposition (Higham,
    "Computing the polar decomposition", 1986). The first voxel, spacing and handedness stay as they are.

    Args:
        name: Name of the image in messages.
        grid: A grid whose direction may be any matrix.

    Returns:
        The straightened grid, or `grid` itself if its axes need no change; and a warning without `name`, or None.

    Raises:
        InputError: a voxel would move by more than half a voxel.
    """
    direction = np.reshape(np.asarray(grid.direction_xyz, dtype=np.float64), (3, 3))
    if not np.isfinite(direction).all():
        raise InputError(f"{name}: its orientation holds NaN or infinity; correct the header")
    left, _, right = np.linalg.svd(direction)
    nearest = left @ right
    spacing, size = np.array(grid.spacing[::-1]), np.array(grid.size[::-1])
    corners = np.array(list(itertools.product((0, 1), repeat=3))) * size * spacing
    moved = corners @ (direction - nearest).T
    millimetres = float(np.linalg.norm(moved, axis=1).max())
    voxels = float(np.abs(moved @ nearest / spacing).max())
    far = f"by up to {millimetres:.3g} mm ({voxels:.2g} voxels) at the far corner"
    if not voxels <= MAX_DRIFT:
        raise InputError(
            f"{name}: {_what_is_wrong(direction)}; on a regular grid, voxels would be off {far}: "
            "resample the image to one, or correct the header"
        )
    gram = direction.T @ direction
    if voxels < REPORTED_DRIFT and np.allclose(gram, np.eye(3), rtol=0, atol=ORTHONORMAL_TOLERANCE / 2):
        return grid, None
    warning = f"its axes are not quite at right angles and of length 1; straightened, voxels move {far}"
    changed = replace(grid, direction_xyz=tuple(float(value) + 0.0 for value in nearest.ravel()))
    return changed, warning if voxels >= REPORTED_DRIFT else None


def _what_is_wrong(direction: np.ndarray) -> str:
    lengths = np.linalg.norm(direction, axis=0)
    gram = direction.T @ direction
    if np.abs(lengths - 1).max() > np.abs(gram - np.diag(np.diag(gram))).max():
        return f"its axes have lengths of {' x '.join(f'{length:.4g}' for length in lengths)} instead of 1"
    return "its axes are not at right angles (a tilted gantry?)"
