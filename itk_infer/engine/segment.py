"""One volume through the engine: windows, slabs, back to native, decide."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from itk_infer.engine.confidence import Confidence, ConfidenceSum
from itk_infer.engine.decision import Decision
from itk_infer.engine.native import to_native
from itk_infer.engine.native_decision import decide_on_native
from itk_infer.engine.slabs import Floats, Forward, Slab, finished_slabs
from itk_infer.engine.windows import WindowGrid
from itk_infer.spec import OutputSpec
from itk_infer.volume.interpolation import ModelGrid
from itk_infer.volume.slab import DecidedSlab

FLOAT16_MAX = float(np.finfo(np.float16).max)

TakeSlab = Callable[[DecidedSlab], None]


@dataclass(frozen=True, slots=True)
class Findings:
    """What was counted on the way.

    Attributes:
        voxels: Native voxels of each label, in the order of the label table.
        confidence: On the model's grid, without padding.
        clipped: Logits beyond the range of float16, which were clipped to it.
    """

    voxels: tuple[int, ...]
    confidence: Confidence
    clipped: int


def segment(
    array: Floats,
    grid: WindowGrid,
    model: ModelGrid,
    forward: Forward,
    output: OutputSpec,
    opened: Callable[[Decision], tuple[TakeSlab, bool]],
    *,
    batch: int = 1,
    slab_height: int | None = None,
    threads: int = 1,
    on_windows: Callable[[int], None] = lambda done: None,
) -> Findings:
    """Segment one volume; its full logits never exist.

    Args:
        array: The padded volume on the model's grid, (C_in, Z, Y, X).
        grid: Its windows.
        model: How the model's grid and the case's own correspond.
        forward: The network.
        output: What its channels mean.
        opened: Called once the number of channels is known; returns what takes the decided slabs,
            and whether they shall carry logits.
        batch: Windows a call.
        slab_height: Planes a slab at most; by default what fits in a few tens of MiB.
        threads: Blocks of native planes decided at the same time.
        on_windows: Told how many windows are done.

    Raises:
        InferenceError: the network's answer cannot be used.
        SpecError: the spec does not fit the number of channels.
    """
    slabs = finished_slabs(array, grid, forward, batch=batch, slab_height=slab_height, on_windows=on_windows)
    first = next(slabs)
    slabs = chain((first,), slabs)
    decision = Decision(output, len(first.logits))
    confidence = ConfidenceSum(decision)
    voxels = np.zeros(len(decision.table), np.int64)
    clipped = 0
    take, want_logits = opened(decision)

    def measured(slabs: Iterable[Slab]) -> Iterator[Slab]:
        for slab in slabs:
            confidence.add(slab.logits, *decision.decide(slab.logits))
            yield slab

    def decided(slabs: Iterable[Slab]) -> Iterator[DecidedSlab]:
        nonlocal clipped
        for slab in slabs:
            labels, masks = decision.decide(slab.logits)
            if model.identity:
                confidence.add(slab.logits, labels, masks)
            logits: NDArray[np.float16] | None = None
            if want_logits:
                logits, beyond = _half(slab.logits)
                clipped += beyond
            yield DecidedSlab(slab.z0, labels, masks, logits)

    if model.identity:
        native = decided(slabs)
    elif want_logits:
        native = decided(to_native(measured(slabs), model, slab_height))
    else:
        native = decide_on_native(measured(slabs), model, decision, threads)
    for found in native:
        voxels += decision.counts(found.labels, found.masks)
        take(found)
    return Findings(tuple(int(count) for count in voxels), confidence.result(), clipped)


def _half(logits: Floats) -> tuple[NDArray[np.float16], int]:
    """float16 logits, and how many had to be clipped to its range."""
    beyond = int(np.count_nonzero(np.abs(logits) > FLOAT16_MAX))
    return np.clip(logits, -FLOAT16_MAX, FLOAT16_MAX).astype(np.float16), beyond
