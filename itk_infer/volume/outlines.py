"""Outlines of masks as polygons along the edges of pixels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Point = tuple[int, int]  # x, y of a corner; pixel (0, 0) lies between (0, 0) and (1, 1)
# The four sides of a pixel, traversed with the mask on the right: the neighbour across (dy, dx), the start corner
# and the direction (x, y).
SIDES = (
    ((-1, 0), (0, 0), (1, 0)),
    ((0, 1), (1, 0), (0, 1)),
    ((1, 0), (1, 1), (-1, 0)),
    ((0, -1), (0, 1), (0, -1)),
)


def outlines(mask: NDArray[np.bool_]) -> list[list[Point]]:
    """The outer outlines of the 8-connected parts of a mask, without holes.

    Args:
        mask: (Y, X).

    Returns:
        For each part, the corners of its outline, (x, y), clockwise on the screen.
    """
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    leaving: dict[Point, list[Point]] = defaultdict(list)  # directions by start corner
    for (dy, dx), (x, y), direction in SIDES:
        outside = ~padded[1 + dy : 1 + dy + mask.shape[0], 1 + dx : 1 + dx + mask.shape[1]]
        for row, column in np.argwhere(inside & outside).tolist():
            leaving[column + x, row + y].append(direction)
    walked: set[tuple[Point, Point]] = set()
    loops = [
        _loop(leaving, corner, direction, walked)
        for corner, directions in leaving.items()
        for direction in directions
        if (corner, direction) not in walked
    ]
    return [loop for loop in loops if area(loop) > 0]


def area(polygon: Sequence[Point]) -> float:
    """Area in pixels; negative for a hole, whose outline is traversed counterclockwise."""
    x, y = np.array(polygon, np.float64).T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _loop(
    leaving: Mapping[Point, Sequence[Point]], corner: Point, direction: Point, walked: set[tuple[Point, Point]]
) -> list[Point]:
    """The outline that starts at a corner in a direction; its sides are added to `walked`."""
    corners: list[Point] = []
    came = direction
    while (corner, direction) not in walked:
        walked.add((corner, direction))
        if direction != came:
            corners.append(corner)
        corner, came = (corner[0] + direction[0], corner[1] + direction[1]), direction
        left = came[1], -came[0]  # a left turn joins parts that touch at a corner
        direction = left if left in leaving[corner] else leaving[corner][0]
    return corners if direction == came else [*corners, corner]
