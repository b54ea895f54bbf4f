"""The check that all channels of a case lie on the same grid."""

from __future__ import annotations

import math

import numpy as np

from itk_infer.errors import InputError
from itk_infer.volume.grid import Grid

TOLERATED = 0.1  # voxels; largest distance between positions of a voxel
REPORTED = 0.01  # voxels; smaller distances give no warning
# NIfTI stores geometry in 32 bits and directions as quaternions: an error of a few thousandths of a voxel
# at the far corner. A wrong origin, flip or spacing moves it by half a voxel or more.
STORED = 0.05  # voxels


def check_same_grid(case: str, other: tuple[str, Grid], first: tuple[str, Grid]) -> str | None:
    """Compare the grids of two channels.

    Args:
        case: Name of the case in messages.
        other: Name of a channel in messages, and its grid.
        first: The same for the channel whose grid becomes the case's.

    Returns:
        A warning if the grids differ by `REPORTED` to `TOLERATED` voxels; None if they differ by less.

    Raises:
        InputError: they differ by more.
    """
    (name, grid), (first_name, reference) = other, first
    if grid.size == reference.size:
        off = grid.distance(reference)
        voxels = off / min(reference.spacing)
        if voxels < REPORTED:
            return None
        far = f"voxels are off by up to {off:.3g} mm"
        if voxels <= TOLERATED:
            return f"{name} and {first_name} differ slightly in their grids ({far}); the latter's is taken"
    else:
        far = "their voxels do not correspond"
    raise InputError(
        f"{case}: {name} lies on another grid than {first_name}: {_difference(grid, reference)}; {far}: resample "
        "one to the grid of the other"
    )


def stored_alike(written: Grid, stored: Grid) -> bool:
    """Whether a file has the grid that was written, up to the rounding of its format."""
    # `same_as` compares voxel centres, which do not depend on the spacing along an axis of one voxel.
    spacing_kept = np.allclose(stored.spacing, written.spacing, rtol=1e-4, atol=0)
    return bool(spacing_kept and stored.same_as(written, STORED))


def _difference(grid: Grid, other: Grid) -> str:
    """A description of what differs, and by how much."""
    parts = []
    if grid.size != other.size:
        parts.append(f"size {_triplet(grid.size)} against {_triplet(other.size)} voxels (Z Y X)")
    wider = max(abs(a - b) for a, b in zip(grid.spacing, other.spacing, strict=True))
    if wider > 1e-6 * min(other.spacing):
        pair = f"{_triplet(grid.spacing)} against {_triplet(other.spacing)}"
        parts.append(f"spacing {pair} mm (Z Y X), by up to {wider:.3g} mm")
    moved = math.dist(grid.origin_xyz, other.origin_xyz)
    if moved > 1e-6 * min(other.spacing):
        pair = f"{_triplet(grid.origin_xyz)} against {_triplet(other.origin_xyz)}"
        parts.append(f"origin {pair} mm (x y z), by {moved:.3g} mm")
    axes, other_axes = (np.reshape(one.direction_xyz, (3, 3)) for one in (grid, other))
    angle = math.degrees(2 * math.asin(min(1.0, float(np.linalg.norm(axes - other_axes, axis=0).max()) / 2)))
    if angle > 1e-4:
        parts.append(f"direction, an axis by {angle:.2g} degrees")
    return "; ".join(parts)


def _triplet(values: tuple[float, float, float]) -> str:
    return " x ".join(f"{value:.7g}" for value in values)
