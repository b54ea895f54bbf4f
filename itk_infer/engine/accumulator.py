"""Where overlapping windows are summed: a ring one patch deep, whatever the depth of the volume."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from itk_infer.engine.place import AxisWeights

Floats = NDArray[np.float32]


class HostAccumulator:
    """The accumulator in host memory, float32.

    Args:
        channels: Output channels.
        depth: Planes of the ring: the window's size along Z.
        plane: Padded size along Y and X.
    """

    def __init__(self, channels: int, depth: int, plane: tuple[int, int]) -> None:
        self._ring = np.zeros((channels, depth, *plane), np.float32)
        # Reused by every window: fresh memory costs more than the arithmetic in it.
        self._weighted = np.empty(0, np.float32)

    def add(self, logits: Floats, weights: AxisWeights, origin: tuple[int, int, int]) -> None:
        """See `Accumulator.add`."""
        along_z, along_y, along_x = weights
        z, y, x = origin
        _, dz, dy, dx = logits.shape
        if self._weighted.shape != logits.shape:
            self._weighted = np.empty(logits.shape, np.float32)
        weights_3d = along_z[:, None, None] * (along_y[:, None] * along_x)
        weighted = np.multiply(logits, weights_3d, out=self._weighted)
        for ring, window in ring_pieces(self._ring.shape[1], z, z + dz):
            self._ring[:, ring, y : y + dy, x : x + dx] += weighted[:, window]

    def take(self, z0: int, z1: int) -> Floats:
        """See `Accumulator.take`."""
        planes = np.empty((len(self._ring), z1 - z0, *self._ring.shape[2:]), np.float32)
        for ring, slab in ring_pieces(self._ring.shape[1], z0, z1):
            planes[:, slab] = self._ring[:, ring]
            self._ring[:, ring] = 0
        return planes


def ring_pieces(depth: int, z0: int, z1: int) -> Iterator[tuple[slice, slice]]:
    """The planes of a ring of `depth` that hold z0 to z1, and the same planes counted from z0."""
    z = z0
    while z < z1:
        first = z % depth
        count = min(depth - first, z1 - z)
        yield slice(first, first + count), slice(z - z0, z - z0 + count)
        z += count
