"""Segmentation of one volume: windows, slabs, interpolation to the native grid, decision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from itk_infer.arrays import Array
from itk_infer.engine.confidence import Confidence
from itk_infer.engine.decision import Decision
from itk_infer.engine.ensemble import probabilities
from itk_infer.engine.host import HostWorkspace
from itk_infer.engine.slabs import Forward, finished_slabs
from itk_infer.engine.windows import WindowGrid
from itk_infer.engine.workspace import Slab, Workspace
from itk_infer.spec import OutputSpec
from itk_infer.volume.interpolation import ModelGrid
from itk_infer.volume.slab import DecidedSlab

TakeSlab = Callable[[DecidedSlab], None]


class Opened(NamedTuple):
    """The receiver of a case's decided slabs.

    Attributes:
        take: Takes decided slabs.
        logits: Whether slabs shall carry logits.
        uncertainty: Whether the uncertainty of each voxel is wanted.
    """

    take: TakeSlab
    logits: bool = False
    uncertainty: bool = False


OpenOutputs = Callable[[Decision], Opened]


@dataclass(frozen=True, slots=True)
class SegmentStats:
    """What was counted during the segmentation of one volume.

    Attributes:
        voxels: Native voxels of each label, in the order of the label table.
        confidence: Confidence on the model's grid, without padding.
        clipped: Logits beyond the range of float16, which were clipped to it.
        uncertainty: See `UncertaintyMap`, on the native grid, (Z, Y, X); None if it was not wanted.
    """

    voxels: tuple[int, ...]
    confidence: Confidence
    clipped: int
    uncertainty: NDArray[np.uint8] | None = None


def segment(
    array: Array,
    grid: WindowGrid,
    model: ModelGrid,
    forward: Forward,
    output: OutputSpec,
    open_outputs: OpenOutputs,
    *,
    workspace: Workspace | None = None,
    repair: Forward | None = None,
    batch: int = 1,
    on_windows: Callable[[int], None] = lambda done: None,
) -> SegmentStats:
    """Segment one volume, slab by slab: the logits of the whole volume are never held in memory.

    Args:
        array: The padded volume on the model's grid, (C_in, Z, Y, X), in the memory of `workspace`.
        grid: Its windows.
        model: How the model's grid and the case's native grid correspond.
        forward: The network.
        output: The meaning of its channels.
        open_outputs: Called once the number of channels is known.
        workspace: Memory in which windows are summed and decided; None: host memory.
        repair: Repeats single windows whose logits were not finite, see `finished_slabs`.
        batch: Windows per call.
        on_windows: Called with the number of windows done so far.

    Raises:
        InferenceError: the network's output has a wrong shape or is not finite.
        SpecError: the spec does not fit the number of channels.
    """
    workspace = workspace or HostWorkspace()
    slabs = finished_slabs(array, grid, forward, workspace, repair=repair, batch=batch, on_windows=on_windows)
    if output.resample == "probabilities":
        slabs = probabilities(slabs, output)
        output = replace(output, values="probabilities")
    return decide(slabs, model, output, open_outputs, workspace)


def decide(
    slabs: Iterator[Slab],
    model: ModelGrid,
    output: OutputSpec,
    open_outputs: OpenOutputs,
    workspace: Workspace,
) -> SegmentStats:
    """Decide finished slabs of the model's grid on the native grid. Arguments and errors: see `segment`."""
    first = [next(slabs)]
    decision = Decision(output, len(first[0].logits))
    slabs = chain((first.pop() for _ in range(1)), slabs)  # a tuple would keep the first slab for the whole case
    opened = open_outputs(decision)
    decider = workspace.decider(decision, model, opened.logits, opened.uncertainty)
    for slab in decider.decide(slabs):
        opened.take(slab)
    return SegmentStats(
        tuple(decider.voxels().tolist()), decider.confidence(), decider.clipped, decider.uncertainty()
    )
