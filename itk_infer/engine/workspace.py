"""Where a volume, the ring of overlapping windows and the deciding live: host memory, or a device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from itk_infer.arrays import Array
from itk_infer.engine.confidence import Confidence
from itk_infer.engine.decision import Decision
from itk_infer.volume.interpolation import ModelGrid
from itk_infer.volume.slab import DecidedSlab

DEVICE_SLAB_BYTES = 128 * 2**20  # of float32 logits; large enough to keep a device busy
AxisWeights = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]  # profiles along Z, Y, X


@dataclass(frozen=True, slots=True)
class Slab:
    """Finished planes ``z0`` to ``z0 + dz`` of a volume: logits (C, dz, Y, X), padding cropped."""

    z0: int
    logits: Array


class Accumulator(Protocol):
    """Sums weighted windows in a ring one patch deep, and hands out finished planes."""

    def add(self, logits: Array, weights: AxisWeights, origin: tuple[int, int, int]) -> None:
        """Add one window.

        Args:
            logits: (C, Z, Y, X) of the window.
            weights: Its weight profiles along Z, Y and X.
            origin: Its first voxel on the padded volume.
        """
        ...

    def take(self, z0: int, z1: int) -> Array:
        """Planes z0 to z1, (C, z1 - z0, Y, X), which are forgotten here."""
        ...


class Decider(Protocol):
    """From finished slabs of one case to decided ones on its own grid, and what was measured on the way.

    Attributes:
        clipped: Logits beyond the range of float16, which were clipped to it.
    """

    @property
    def clipped(self) -> int:
        """See above."""
        ...

    def decide(self, slabs: Iterable[Slab]) -> Iterator[DecidedSlab]:
        """Host arrays, ascending and without gaps; logits in them only if asked for."""
        ...

    def voxels(self) -> NDArray[np.int64]:
        """Native voxels of each label in all decided slabs, (L,), in the order of the label table."""
        ...

    def confidence(self) -> Confidence:
        """Of all slabs, on the model's grid."""
        ...


class Workspace(Protocol):
    """Host memory, or a device. Both must pass ``tests/engine/test_places.py``.

    Attributes:
        slab_bytes: Float32 logits of a slab at most; deciding needs a few times as much.
        prefetch_calls: Calls of the network that are begun before the answer to the first is looked at.
    """

    slab_bytes: int
    prefetch_calls: int

    def put(self, array: NDArray[Any]) -> Array:
        """The stored volume, (C, Z, Y, X), brought here."""
        ...

    def accumulator(self, channels: int, depth: int, plane: tuple[int, int]) -> Accumulator:
        """A ring of `depth` planes of the padded volume."""
        ...

    def finite(self, windows: Array) -> Callable[[], list[bool]]:
        """Whether each of (N, C, Z, Y, X) is free of NaN and infinity; told when it is asked for."""
        ...

    def decider(self, decision: Decision, model: ModelGrid, want_logits: bool) -> Decider:
        """What decides the slabs of one case."""
        ...
