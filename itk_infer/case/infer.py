"""One volume through a loaded model: prepared, run, decided, its outputs ready to be committed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from itk_infer.arrays import Array
from itk_infer.case.clock import Clock
from itk_infer.case.loaded_model import LoadedModel
from itk_infer.case.outputs import CaseSinks
from itk_infer.case.plan import CasePlan
from itk_infer.case.prepare import prepare
from itk_infer.case.result import LabelMeasurement, Measurements, PendingOutputs
from itk_infer.case.warmup import settle_batch, settle_precision
from itk_infer.engine.segment import SegmentStats, segment
from itk_infer.engine.workspace import Workspace
from itk_infer.errors import InputError
from itk_infer.model.inferer.answer_check import AnswerCheck
from itk_infer.model.inferer.inferer import WindowInferer
from itk_infer.outputs.label_map import LabelMapSink
from itk_infer.outputs.sink import OutputHeader, Sink
from itk_infer.spec import Label
from itk_infer.volume.grid import Reorientation
from itk_infer.volume.slab import LabelArray
from itk_infer.volume.volume import Volume

MakeSinks = Callable[[OutputHeader], Sequence[Sink]]
OnWindows = Callable[[int, int], None]
UNCHANGED = Reorientation((0, 1, 2), (False, False, False))


def infer(model: LoadedModel, volume: Volume, make_sinks: MakeSinks, on_windows: OnWindows) -> PendingOutputs:
    """Segment a volume into sinks that are still to be committed.

    Where a device's memory runs out beside the network, the case is begun again with its sums in host memory,
    and so are all later ones.

    Args:
        model: The model; what is learned of it is kept there.
        volume: The case.
        make_sinks: Called when the number of output channels is known, once per attempt.
        on_windows: Called with the windows done, and the windows in all.

    Raises:
        CaseError: the case cannot be finished; no sink has left anything behind.
    """
    channels = len(model.spec.input.channels)
    if len(volume.array) != channels:
        raise InputError(f"{volume.name}: has {len(volume.array)} channels; the model takes {channels}")
    plan = model.plan(volume.grid, volume.array.itemsize, batch=1 if model.auto_batch else None)
    previous, earlier, done_before = None, list[str](), 0
    if model.previous is not None:
        previous, earlier, done_before = _previous_stage(model.previous, volume, plan, on_windows)

    def count(done: int, every: int) -> None:
        on_windows(done_before + done, done_before + every)

    workspace, notes = model.workspaces.choose(plan)
    notes += [*earlier, *plan.warnings]
    try:
        return _attempt(model, workspace, volume, previous, plan, make_sinks, count, notes)
    except Exception as error:
        if workspace is model.workspaces.host or not model.workspaces.leave_device(error):
            raise
    model.workspaces.free_device()  # not before the error has released the tensors that it held
    workspace, more = model.workspaces.choose(plan)
    notes += [*more, "the device's memory ran out; from here on overlaps are summed in host memory"]
    return _attempt(model, workspace, volume, previous, plan, make_sinks, count, notes)


def _previous_stage(
    model: LoadedModel, volume: Volume, plan: CasePlan, on_windows: OnWindows
) -> tuple[LabelArray, list[str], int]:
    """The label map of the previous stage on the native grid, in the model's orientation; notes; its windows."""

    def in_memory(header: OutputHeader) -> list[LabelMapSink]:
        return [LabelMapSink(None, replace(header, grid=plan.native, reorientation=UNCHANGED))]

    def count(done: int, every: int) -> None:
        on_windows(done, every + len(plan.windows))

    pending = infer(model, volume, in_memory, count)
    (sink,) = (sink for sink in pending.sinks if isinstance(sink, LabelMapSink))
    found = pending.measurements
    return sink.finished.labels, [f"first stage: {text}" for text in found.warnings], found.windows


def _attempt(
    model: LoadedModel,
    workspace: Workspace,
    volume: Volume,
    previous: LabelArray | None,
    plan: CasePlan,
    make_sinks: MakeSinks,
    on_windows: OnWindows,
    notes: list[str],
) -> PendingOutputs:
    """Run the case once. Notes that stay true for a retry are appended to `notes`."""
    clock, warnings = Clock(), list[str]()
    every = len(plan.windows)
    stored = workspace.put(volume.array)
    prepared = prepare(stored, plan, model.spec, model.window, model.options.crop_foreground, previous)
    plan = prepared.plan
    if prepared.crop is not None:
        saved = f"{every - len(plan.windows)} of {every} windows saved"
        warnings.append(f"cropped to {prepared.crop.share:.0%} of its voxels: {saved}, background outside")
    clock.lap("prepare")
    if not model.precision_checked:
        notes += settle_precision(model, prepared)
        clock.lap("self-check")
    if model.auto_batch is not None and len(plan.windows) > 1:
        notes += settle_batch(model, prepared, workspace)
        clock.lap("batch")
    below = None if isinstance(model.options.skip_empty, bool) else model.options.skip_empty
    lowest = prepared.volume.min() if below is not None else 0.0  # not needed without a bound
    inferer = WindowInferer(
        model.backend,
        model.mirror_axes,
        None if model.options.skip_empty is False else lowest,
        below,
        model.max_batch,
    )
    check = None if model.answers_known else AnswerCheck(model.spec.output)
    sinks = CaseSinks(make_sinks, lambda decision: model.header(volume.grid, plan, decision), prepared)

    def forward(windows: Array) -> Array:
        with clock.inside("network"):
            answers = inferer(windows)
        if check is not None:
            check.look(answers)
        return answers

    try:
        stats = segment(
            prepared.volume,
            plan.windows,
            plan.model,
            forward,
            model.spec.output,
            sinks.open,
            workspace=workspace,
            repair=None if model.backend.precision == "fp32" else inferer.repair,
            batch=model.batch,
            on_windows=lambda done: on_windows(done, len(plan.windows)),
        )
        clock.lap("engine")
    except BaseException:
        sinks.abort()
        raise
    warnings += inferer.warnings(len(plan.windows))
    if check is not None:
        doubts = check.warnings()
        warnings += doubts
        model.answers_known = check.done or bool(doubts)
    if inferer.max_batch is not None:
        model.note_max_batch(inferer.max_batch)
    if stats.clipped:
        warnings.append(f"{stats.clipped:,} logits lie beyond the range of float16 and were clipped to it")
    measured = _measurements(stats, sinks.labels, plan, clock.seconds, (*notes, *warnings))
    return PendingOutputs(sinks.open_outputs, measured)


def _measurements(
    stats: SegmentStats,
    table: tuple[Label, ...],
    plan: CasePlan,
    seconds: dict[str, float],
    warnings: tuple[str, ...],
) -> Measurements:
    voxel_ml = plan.native.voxel_volume_ml
    measured = zip(table, stats.voxels, stats.confidence.per_label, strict=True)
    return Measurements(
        labels=tuple(LabelMeasurement(label, n, n * voxel_ml, confidence) for label, n, confidence in measured),
        confidence=stats.confidence.overall,
        confidence_foreground=stats.confidence.foreground,
        windows=len(plan.windows),
        seconds=seconds,
        warnings=warnings,
    )
