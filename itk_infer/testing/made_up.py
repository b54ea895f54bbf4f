"""A synthetic case for tests of outputs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from itk_infer.outputs.sink import OutputHeader
from itk_infer.spec import Label
from itk_infer.volume.grid import Grid

# Turned by 37 degrees about Z and 12 about X: the nearest code is still LPS.
ANGLE, TILT = np.radians(37), np.radians(12)
ABOUT_Z = np.array([[np.cos(ANGLE), -np.sin(ANGLE), 0], [np.sin(ANGLE), np.cos(ANGLE), 0], [0, 0, 1]])
ABOUT_X = np.array([[1, 0, 0], [0, np.cos(TILT), -np.sin(TILT)], [0, np.sin(TILT), np.cos(TILT)]])

CODES = [
    "".join(letters) for axes in itertools.permutations(("LR", "AP", "IS")) for letters in itertools.product(*axes)
]


def slab_grid(size: tuple[int, int, int]) -> Grid:
    """An oblique grid for slabs of this size, Z Y X."""
    direction = tuple(float(value) for value in (ABOUT_Z @ ABOUT_X).ravel())
    return Grid(size, (1.5, 0.8, 0.7), (-31.25, 12.5, 150.0), direction)


def make_header(
    size: tuple[int, int, int] = (9, 6, 7),
    code: str | None = "LPI",
    values: tuple[int, ...] = (1, 2),
    channels: int = 2,
) -> OutputHeader:
    """A case whose slabs lie on `slab_grid`, and its files in the orientation `code`."""
    grid, reorientation = slab_grid(size).reoriented(code)
    labels = tuple(Label(value, f"label {value}", "#e6194b", index) for index, value in enumerate(values))
    return OutputHeader(grid, reorientation, size, labels, channels, {"model": "made up 1.0"})


def ranges(planes: int, heights: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield first and last + 1 plane of slabs with these heights, repeated to the end of the case."""
    z = 0
    for height in itertools.cycle(heights):
        if z == planes:
            return
        stop = min(planes, z + height)
        yield z, stop
        z = stop
