"""Channels on nearly one grid, and what is told of those on two."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from itk_infer.errors import InputError
from itk_infer.volume.grid import Grid
from itk_infer.volume.same_grid import check_same_grid
from itk_infer.volume.volume import image_of, volume_of

GRID = Grid((80, 120, 100), (2.0, 1.0, 1.0), (-12.2122, 12.0582, -7.749))


def turned(radians: float) -> Grid:
    c, s = np.cos(radians), np.sin(radians)
    return replace(GRID, direction_xyz=(c, -s, 0.0, s, c, 0.0, 0.0, 0.0, 1.0))


def check(grid: Grid) -> str | None:
    return check_same_grid("case", ("flair.nii", grid), ("t1.nii", GRID))


@pytest.mark.parametrize(
    "grid",
    [
        GRID,
        replace(GRID, origin_xyz=(-12.21, 12.06, -7.75)),
        replace(GRID, spacing=(2.0, 1.0, 1.00002)),
        turned(5e-5),
    ],
    ids=["same", "origin", "spacing", "direction"],
)
def test_rounding_is_no_difference(grid: Grid) -> None:
    assert check(grid) is None


def test_a_fraction_of_a_voxel_is_told() -> None:
    told = check(replace(GRID, origin_xyz=(-12.2122, 12.0582, -7.699)))
    assert (
        told
        == "flair.nii and t1.nii differ slightly in their grids (voxels are off by up to 0.05 mm); the latter's is taken"
    )


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        (
            replace(GRID, origin_xyz=(-12.2122, 12.0582, -7.249)),
            "origin -12.2122 x 12.0582 x -7.249 against -12.2122 x 12.0582 x -7.749 mm (x y z), by 0.5 mm; "
            "voxels are off by up to 0.5 mm",
        ),
        (
            replace(GRID, spacing=(2.0, 1.01, 1.0)),  # 119 steps of 0.01 mm
            "spacing 2 x 1.01 x 1 against 2 x 1 x 1 mm (Z Y X), by up to 0.01 mm; voxels are off by up to 1.19 mm",
        ),
        (turned(0.02), "direction, an axis by 1.1 degrees; voxels are off by up to 3.1 mm"),  # 0.02 * |(99, 119)|
        (
            replace(GRID, size=(81, 120, 100)),
            "size 81 x 120 x 100 against 80 x 120 x 100 voxels (Z Y X); their voxels do not correspond",
        ),
    ],
    ids=["origin", "spacing", "direction", "size"],
)
def test_more_is_refused_with_what_differs(grid: Grid, words: str) -> None:
    said = f"case: flair.nii lies on another grid than t1.nii: {words}: resample one to the grid of the other"
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        check(grid)


def test_all_that_differs_is_named() -> None:
    other = replace(turned(0.02), spacing=(2.0, 1.01, 1.0), origin_xyz=(0.0, 0.0, 0.0))
    with pytest.raises(InputError, match=r"spacing .* origin .* direction"):
        check(other)


def test_channels_of_a_volume_are_compared_and_the_first_one_counts() -> None:
    small = Grid((4, 5, 6), (2.0, 1.0, 1.0))
    images = [image_of(np.zeros(small.size, np.int16), small) for _ in range(3)]
    images[1].SetOrigin((0.05, 0, 0))
    volume = volume_of(images, "case", ["t1.nii", "flair.nii", "t2.nii"])
    assert volume.grid == small
    assert ["flair.nii and t1.nii differ slightly" in warning for warning in volume.warnings] == [True]
    images[2].SetOrigin((0, 0.5, 0))
    with pytest.raises(InputError, match=r"^case: t2\.nii lies on another grid than t1\.nii: origin"):
        volume_of(images, "case", ["t1.nii", "flair.nii", "t2.nii"])
    with pytest.raises(InputError, match="channel 2 lies on another grid than channel 0"):
        volume_of(images, "case")
