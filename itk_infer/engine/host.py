"""The engine in host memory, with NumPy: workspace and decider."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.arrays import Array
from itk_infer.engine.accumulator import HostAccumulator
from itk_infer.engine.confidence import Confidence, ConfidenceSum
from itk_infer.engine.decision import Decision
from itk_infer.engine.finite import all_finite
from itk_infer.engine.native import to_native
from itk_infer.engine.native_decision import decide_on_native
from itk_infer.engine.native_labels import labels_to_native, takes_nearest
from itk_infer.engine.uncertainty import UncertaintyMap
from itk_infer.engine.workspace import Slab
from itk_infer.volume.interpolation import ModelGrid
from itk_infer.volume.slab import DecidedSlab

SLAB_BYTES = 8 * 2**20  # a slab and arrays computed from it fit in the processor's caches
MEMBER_SLAB_BYTES = 2**20  # of each member of an ensemble, all of which are in memory together
FLOAT16_MAX = float(np.finfo(np.float16).max)


class HostWorkspace:
    """See `Workspace`.

    Args:
        threads: Threads of the decision on the native grid.
        slab_bytes: Maximum bytes of a slab's float32 logits.
    """

    prefetch_calls = 0

    def __init__(self, threads: int = 1, slab_bytes: int = SLAB_BYTES) -> None:
        self._threads = threads
        self.slab_bytes = slab_bytes

    def for_members(self) -> HostWorkspace:
        """Return the workspace of the members of an ensemble, each of which holds a few slabs of its own."""
        return HostWorkspace(self._threads, min(self.slab_bytes, MEMBER_SLAB_BYTES))

    def put(self, array: NDArray[Any]) -> Array:
        """Return the array unchanged."""
        return array

    def accumulator(
        self, channels: int, depth: int, plane: tuple[int, int], floor: float = 0.0
    ) -> HostAccumulator:
        """See `Workspace.accumulator`."""
        return HostAccumulator(channels, depth, plane, floor)

    def finite(self, windows: Array) -> Callable[[], list[bool]]:
        """See `Workspace.finite`."""
        # NumPy is slow with half precision.
        flags = [all_finite(window.astype(np.float32, copy=False)) for window in windows]
        return lambda: flags

    def decider(
        self, decision: Decision, model: ModelGrid, want_logits: bool, want_uncertainty: bool = False
    ) -> HostDecider:
        """See `Workspace.decider`."""
        return HostDecider(decision, model, want_logits, self._threads, self.slab_bytes, want_uncertainty)


class HostDecider:
    """See `Decider`.

    Args:
        decision: The decision rule.
        model: How the model's grid and the native one correspond.
        want_logits: Whether decided slabs carry logits.
        threads: Threads of the decision on the native grid.
        slab_bytes: Maximum bytes of a slab's float32 logits.
        want_uncertainty: Whether the uncertainty of each voxel is kept.
    """

    def __init__(
        self,
        decision: Decision,
        model: ModelGrid,
        want_logits: bool,
        threads: int,
        slab_bytes: int,
        want_uncertainty: bool = False,
    ) -> None:
        self.clipped = 0
        self._decision = decision
        self._model = model
        self._want_logits = want_logits
        self._threads = threads
        self._slab_bytes = slab_bytes
        self._uncertainty = UncertaintyMap(model) if want_uncertainty else None
        self._sum = ConfidenceSum(decision, self._uncertainty)
        self._voxels = np.zeros(len(decision.table), np.int64)

    def voxels(self) -> NDArray[np.int64]:
        """See `Decider.voxels`."""
        return self._voxels

    def confidence(self) -> Confidence:
        """See `Decider.confidence`."""
        return self._sum.result()

    def uncertainty(self) -> NDArray[np.uint8] | None:
        """See `Decider.uncertainty`."""
        return None if self._uncertainty is None else self._uncertainty.on_native_grid()

    def decide(self, slabs: Iterable[Slab]) -> Iterator[DecidedSlab]:
        """See `Decider.decide`."""
        for slab in self._decided(slabs):
            self._voxels += self._decision.counts(slab.labels, slab.masks)
            yield slab

    def _decided(self, slabs: Iterable[Slab]) -> Iterator[DecidedSlab]:
        if self._model.identity:
            return self._decide(slabs, measure=True)
        if takes_nearest(self._model) and not self._want_logits:
            return labels_to_native(self._decide(slabs, measure=True), self._model)
        measured = self._measured(slabs)
        if self._want_logits or self._decision.weighs:
            return self._decide(to_native(measured, self._model, self._slab_bytes), measure=False)
        return decide_on_native(measured, self._model, self._decision, self._threads)

    def _measured(self, slabs: Iterable[Slab]) -> Iterator[Slab]:
        def measured(slab: Slab) -> Slab:
            self._sum.add(slab.logits, *self._decision.decide(slab.logits))
            return slab

        return map(measured, slabs)  # which keeps no slab while the next one is computed

    def _decide(self, slabs: Iterable[Slab], *, measure: bool) -> Iterator[DecidedSlab]:
        def decided(slab: Slab) -> DecidedSlab:
            labels, masks = self._decision.decide(slab.logits)
            if measure:
                self._sum.add(slab.logits, labels, masks)
            logits: NDArray[np.float16] | None = None
            if self._want_logits:
                self.clipped += int(np.count_nonzero(np.abs(slab.logits) > FLOAT16_MAX))
                logits = np.clip(slab.logits, -FLOAT16_MAX, FLOAT16_MAX).astype(np.float16)
            return DecidedSlab(slab.z0, labels, masks, logits)

        return map(decided, slabs)
