"""The sum of overlapping windows in device memory, see `itk_infer.engine.accumulator`."""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray

from itk_infer.engine.accumulator import ring_pieces
from itk_infer.engine.workspace import AxisWeights


class DeviceAccumulator:
    """See `Accumulator`. Sums are float32, whatever the type of the logits.

    Args:
        channels: Number of output channels.
        depth: Planes in the ring: the window's size along Z.
        plane: Size of the padded volume along Y and X.
        device: Device that holds the ring.
        floor: See `HostAccumulator`.
    """

    def __init__(
        self, channels: int, depth: int, plane: tuple[int, int], device: torch.device, floor: float = 0.0
    ) -> None:
        self._floor = floor
        shape = (channels + (floor > 0), depth, *plane)
        self._ring = torch.zeros(shape, dtype=torch.float32, device=device)

    def add(self, logits: torch.Tensor, weights: AxisWeights, origin: tuple[int, int, int]) -> None:
        """See `Accumulator.add`. One fused pass over the ring, without synchronising with the device."""
        along_z, along_y, along_x = (_uploaded(profile.tobytes(), self._ring.device) for profile in weights)
        z, y, x = origin
        _, dz, dy, dx = logits.shape
        weights_3d = along_z[:, None, None] * (along_y[:, None] * along_x)
        if self._floor:
            weights_3d.clamp_(min=self._floor)
        for ring, window in ring_pieces(self._ring.shape[1], z, z + dz):
            target = self._ring[:, ring, y : y + dy, x : x + dx]
            if self._floor:
                target[-1] += weights_3d[window]
            target[: len(logits)].addcmul_(logits[:, window].float(), weights_3d[window])

    def take(self, z0: int, z1: int) -> torch.Tensor:
        """See `Accumulator.take`."""
        shape = (len(self._ring), z1 - z0, *self._ring.shape[2:])
        planes = torch.empty(shape, dtype=torch.float32, device=self._ring.device)
        for ring, slab in ring_pieces(self._ring.shape[1], z0, z1):
            planes[:, slab] = self._ring[:, ring]
            self._ring[:, ring] = 0
        if not self._floor:
            return planes
        planes[:-1] /= planes[-1]
        return planes[:-1]


@functools.lru_cache(maxsize=64)
def _uploaded(profile: bytes, device: torch.device) -> torch.Tensor:
    """A weight profile on the device; cached, because a volume has few different ones."""
    values: NDArray[np.float32] = np.frombuffer(profile, np.float32).copy()
    return torch.from_numpy(values).to(device)
