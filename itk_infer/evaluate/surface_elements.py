"""The piece of surface in each 2 x 2 x 2 neighbourhood of voxels, and its area.

A neighbourhood that is neither empty nor full holds a surface element: the surface that marching cubes (Lorensen
and Cline, SIGGRAPH 1987) puts between the centres of its eight voxels. The table of areas is derived, not stored:

1. On each face of the cube, the midpoints of its edges with one end inside are joined in pairs. If two inside
   corners of a face lie diagonally, each is cut off separately; for a cube with more than four inside corners,
   outside ones take their place.
2. The joined midpoints form closed loops, which are split into triangles, choosing the triangulation with the
   largest area for cubic voxels.

The areas equal those of the surface distance of Nikolov et al. (J Med Internet Res 2021, doi 10.2196/26151), which
is also what MONAI and pymia use; a test compares all 256.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

Corner = tuple[int, ...]  # 0 or 1 along Z, Y, X
Edge = tuple[Corner, Corner]
Loop = list[Edge]
Triangle = tuple[int, int, int]  # indices into a loop
CORNERS: tuple[Corner, ...] = tuple(product((0, 1), repeat=3))
# Bit of each corner in the code of a neighbourhood.
WEIGHTS: dict[Corner, int] = {(z, y, x): 1 << (4 * z + 2 * y + x) for z, y, x in CORNERS}
FULL = 255


def area_table(spacing: tuple[float, float, float]) -> NDArray[np.float64]:
    """Area of the surface element of each code, in mm².

    Args:
        spacing: Millimetres along Z, Y, X.

    Returns:
        256 areas; the code of a neighbourhood is the sum of the `WEIGHTS` of its inside corners.
    """
    z, y, x = spacing
    scaled = _normals() * np.array((y * x, z * x, z * y))
    areas: NDArray[np.float64] = np.sqrt((scaled**2).sum(axis=-1)).sum(axis=-1)
    return areas


@cache
def _normals() -> NDArray[np.float64]:
    """Area vectors of the triangles of every code, (256, triangles, 3), for cubic voxels of edge length 1."""
    every = [_triangles_of(code) for code in range(FULL + 1)]
    normals = np.zeros((len(every), max(map(len, every)), 3))
    for code, vectors in enumerate(every):
        if vectors:
            normals[code, : len(vectors)] = vectors
    return normals


def _triangles_of(code: int) -> list[NDArray[np.float64]]:
    inside = {corner for corner in CORNERS if code & WEIGHTS[corner]}
    if len(inside) > len(CORNERS) // 2:
        inside = set(CORNERS) - inside
    found: list[NDArray[np.float64]] = []
    for loop in _loops(list(_segments(inside))):
        middles = [np.add(*edge) / 2 for edge in loop]
        options = [
            [np.cross(middles[b] - middles[a], middles[c] - middles[a]) / 2 for a, b, c in triangles]
            for triangles in _triangulations(0, len(loop) - 1)
        ]
        found += max(options, key=lambda vectors: round(sum(float(np.linalg.norm(v)) for v in vectors), 9))
    return found


def _segments(inside: set[Corner]) -> Iterator[tuple[Edge, Edge]]:
    """Yield pairs of edges whose midpoints are joined across a face."""
    for axis, side in product(range(3), (0, 1)):
        face = [(*corner[:axis], side, *corner[axis:]) for corner in ((0, 0), (0, 1), (1, 1), (1, 0))]
        holds = [corner in inside for corner in face]
        edges = [_edge(face[i - 1], face[i]) for i in range(4)]  # edge i ends at corner i
        cut = [edge for i, edge in enumerate(edges) if holds[i - 1] != holds[i]]
        if len(cut) == 2:
            yield cut[0], cut[1]
        elif len(cut) == 4:
            for i in range(4):
                if holds[i]:
                    yield edges[i], edges[(i + 1) % 4]


def _edge(one: Corner, other: Corner) -> Edge:
    return (one, other) if one < other else (other, one)


def _loops(segments: list[tuple[Edge, Edge]]) -> Iterator[Loop]:
    """Yield the closed loops of the segments; every edge belongs to two segments."""
    rest = list(segments)
    while rest:
        loop = list(rest.pop())
        while True:
            following = next((pair for pair in rest if loop[-1] in pair), None)
            if following is None:
                break
            rest.remove(following)
            loop.append(following[1] if following[0] == loop[-1] else following[0])
        yield loop[:-1]  # the last edge equals the first


def _triangulations(first: int, last: int) -> list[list[Triangle]]:
    """All triangulations of the polygon with the points `first` to `last`."""
    if last - first < 2:
        return [[]]
    return [
        [*before, *after, (first, middle, last)]
        for middle in range(first + 1, last)
        for before in _triangulations(first, middle)
        for after in _triangulations(middle, last)
    ]
