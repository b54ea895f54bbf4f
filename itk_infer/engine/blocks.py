"""Pieces of an array that fit in a processor's cache, for computations that pass over the data several times."""

from __future__ import annotations

from collections.abc import Iterator

BLOCK_VOXELS = 2**15  # 128 KiB of float32: two or three such arrays fit in the second-level cache of any core


def blocks(shape: tuple[int, ...], voxels: int = BLOCK_VOXELS) -> Iterator[tuple[slice, slice]]:
    """Cut (Z, Y, X) along Z into runs of whole planes, or single planes into runs of rows.

    Args:
        shape: Shape to cut, (Z, Y, X).
        voxels: Maximum voxels per piece; a piece holds at least one row.
    """
    depth, rows, columns = shape
    planes = max(1, voxels // max(1, rows * columns))
    run = min(rows, max(1, voxels // max(1, columns)))
    for z in range(0, depth, planes):
        for y in range(0, rows, run):
            yield slice(z, min(z + planes, depth)), slice(y, min(y + run, rows))
