"""The interface of the memory (host or device) for a volume, the sums of its windows and the decision."""

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

DEVICE_SLAB_BYTES = 128 * 2**20  # float32 logits per slab on a device; large enough to keep it busy
AxisWeights = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]  # profiles along Z, Y, X


@dataclass(frozen=True, slots=True)
class Slab:
    """Finished planes ``z0`` to ``z0 + dz`` of a volume: blended logits (C, dz, Y, X), without padding."""

    z0: int
    logits: Array


class Accumulator(Protocol):
    """Sums weighted windows in a ring as deep as one window, and returns finished planes."""

    def add(self, logits: Array, weights: AxisWeights, origin: tuple[int, int, int]) -> None:
        """Add one window.

        Args:
            logits: Logits of the window, (C, Z, Y, X).
            weights: Its weight profiles along Z, Y and X.
            origin: Its first voxel in the padded volume, Z Y X.
        """
        ...

    def take(self, z0: int, z1: int) -> Array:
        """Return planes z0 to z1, (C, z1 - z0, Y, X), and set them to zero in the ring."""
        ...


class Decider(Protocol):
    """Turns finished slabs of one case into decided slabs on its native grid, and measures them.

    Attributes:
        clipped: Number of logits beyond the range of float16, which were clipped to it.
    """

    @property
    def clipped(self) -> int:
        """Number of clipped logits."""
        ...

    def decide(self, slabs: Iterable[Slab]) -> Iterator[DecidedSlab]:
        """Decide all slabs.

        Args:
            slabs: Slabs on the model's grid, ascending and without gaps.

        Yields:
            Slabs on the native grid in host memory, ascending and without gaps; with logits if these are wanted.
        """
        ...

    def voxels(self) -> NDArray[np.int64]:
        """Native voxels of each label in all decided slabs, (L,) int64, in the order of the label table."""
        ...

    def confidence(self) -> Confidence:
        """Mean confidence over all slabs, on the model's grid."""
        ...

    def uncertainty(self) -> NDArray[np.uint8] | None:
        """See `UncertaintyMap.on_native_grid`; call it once, after the last slab. None if it was not wanted."""
        ...


class Workspace(Protocol):
    """Memory of the host or of a device, and the computations on it.

    Attributes:
        slab_bytes: Maximum bytes of a slab's float32 logits; the decision needs a few times as much.
        prefetch_calls: Network calls queued before the first result is read.
    """

    slab_bytes: int
    prefetch_calls: int

    def put(self, array: NDArray[Any]) -> Array:
        """Copy the stored volume, (C, Z, Y, X), to this memory, unless it is already there."""
        ...

    def accumulator(self, channels: int, depth: int, plane: tuple[int, int], floor: float = 0.0) -> Accumulator:
        """Make an empty ring of sums: `channels` channels, `depth` planes of size `plane` (Y, X).

        With a `floor`, weights are raised to it, and planes are divided by the sum of weights when they are taken.
        """
        ...

    def finite(self, windows: Array) -> Callable[[], list[bool]]:
        """Start to check each of the windows (N, C, Z, Y, X) for NaN and infinity.

        Returns:
            A function that waits for the check and returns one flag per window: whether all its values are finite.
        """
        ...

    def decider(
        self, decision: Decision, model: ModelGrid, want_logits: bool, want_uncertainty: bool = False
    ) -> Decider:
        """Make a decider for one case.

        Args:
            decision: The decision rule.
            model: How the model's grid and the native one correspond.
            want_logits: Whether decided slabs shall carry logits.
            want_uncertainty: Whether the uncertainty of each voxel shall be kept.
        """
        ...
