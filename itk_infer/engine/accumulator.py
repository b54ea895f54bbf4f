"""The sum of overlapping windows, in a ring buffer as deep as one window, for volumes of any depth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.engine.blocks import BLOCK_VOXELS, blocks
from itk_infer.engine.workspace import AxisWeights

Floats = NDArray[np.float32]


class HostAccumulator:
    """The accumulator in host memory, float32.

    Args:
        channels: Number of output channels.
        depth: Planes in the ring: the window's size along Z.
        plane: Size of the padded volume along Y and X.
        floor: Smallest weight, see `WindowGrid`. Above 0, a further channel holds the sum of the weights.
    """

    def __init__(self, channels: int, depth: int, plane: tuple[int, int], floor: float = 0.0) -> None:
        self._floor = np.float32(floor)
        self._ring = np.zeros((channels + (floor > 0), depth, *plane), np.float32)
        # Reused by every block: allocating memory takes longer than the arithmetic on it.
        self._scratch = np.empty((2, max(BLOCK_VOXELS, plane[1])), np.float32)

    def add(self, logits: NDArray[np.floating[Any]], weights: AxisWeights, origin: tuple[int, int, int]) -> None:
        """See `Accumulator.add`. Rounded as if whole windows were multiplied and then added in float32.

        It works block by block, so that logits and ring are read from memory once. Rows of the ring are copied
        out and back, each as a single item, because NumPy adds to short strided rows many times slower.
        """
        along_z, along_y, along_x = weights
        z, y, x = origin
        _, dz, dy, dx = logits.shape
        plane = along_y[:, None] * along_x
        row = np.dtype((np.void, dx * self._ring.itemsize))
        for inside, window in ring_pieces(self._ring.shape[1], z, z + dz):
            ring = self._ring[:, inside, y : y + dy, x : x + dx]
            for block in blocks((window.stop - window.start, dy, dx)):
                weight = along_z[window][block[0], None, None] * plane[block[1]]
                weighted, summed = (flat[: weight.size].reshape(weight.shape) for flat in self._scratch)
                if self._floor:
                    np.maximum(weight, self._floor, out=weight)
                    ring[-1][block] += weight
                summed_rows = summed.view(row)
                # The sum of the weights comes after the channels.
                for into, channel in zip(ring.view(row), logits, strict=False):
                    np.multiply(channel[window][block], weight, out=weighted, dtype=np.float32)
                    np.copyto(summed_rows, into[block])
                    summed += weighted
                    np.copyto(into[block], summed_rows)

    def take(self, z0: int, z1: int) -> Floats:
        """See `Accumulator.take`."""
        planes = np.empty((len(self._ring), z1 - z0, *self._ring.shape[2:]), np.float32)
        for inside, slab in ring_pieces(self._ring.shape[1], z0, z1):
            planes[:, slab] = self._ring[:, inside]
            self._ring[:, inside] = 0
        if not self._floor:
            return planes
        planes[:-1] /= planes[-1]
        return planes[:-1]


def ring_pieces(depth: int, z0: int, z1: int) -> Iterator[tuple[slice, slice]]:
    """Pairs of slices: planes in a ring of `depth` planes that hold z0 to z1, and the same counted from z0."""
    z = z0
    while z < z1:
        first = z % depth
        count = min(depth - first, z1 - z)
        yield slice(first, first + count), slice(z - z0, z - z0 + count)
        z += count
