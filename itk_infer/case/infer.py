"""One volume through a loaded model: prepared, run, decided, its outputs ready to be committed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from itk_infer.case.clock import Clock
from itk_infer.case.given_masks import given_mask
from itk_infer.case.infer_ensemble import infer_ensemble
from itk_infer.case.infer_members import mean_slabs
from itk_infer.case.infer_recipe import infer_recipe
from itk_infer.case.loaded_ensemble import LoadedEnsemble
from itk_infer.case.loaded_model import LoadedModel
from itk_infer.case.loaded_recipe import LoadedRecipe
from itk_infer.case.network_run import NetworkRun
from itk_infer.case.outputs import CaseSinks, MakeSinks
from itk_infer.case.picture_channels import with_channels
from itk_infer.case.plan import CasePlan
from itk_infer.case.result import Measurements, PendingOutputs, measurements
from itk_infer.engine.agreement import Agreement, AgreementStats
from itk_infer.engine.decision import Decision
from itk_infer.engine.segment import OpenOutputs, SegmentStats, decide, segment
from itk_infer.engine.workspace import Workspace
from itk_infer.errors import InputError
from itk_infer.outputs.label_map import LabelMapSink
from itk_infer.outputs.sink import OutputHeader
from itk_infer.volume.grid import UNCHANGED, Grid, Reorientation
from itk_infer.volume.slab import LabelArray
from itk_infer.volume.volume import Volume

OnWindows = Callable[[int, int], None]


def quiet(done: int, every: int) -> None:
    """Ignore progress: windows done, and windows in total."""


def infer(model: LoadedModel, volume: Volume, make_sinks: MakeSinks, on_windows: OnWindows) -> PendingOutputs:
    """Segment a volume. The sinks have all slabs afterwards, and are still to be committed.

    If a device has not enough memory for network and sums, the case is restarted with its sums in host memory, as
    are all later cases.

    Args:
        model: The model; what is found out about it, such as the batch size, is stored in it.
        volume: The case's image.
        make_sinks: Called when the number of output channels is known, once per attempt.
        on_windows: Called with the windows done, and the total number of windows.

    Raises:
        CaseError: the case cannot be finished; all files of its sinks are removed.
    """
    volume, changed = with_channels(volume, model.spec.input)
    pending = _inferred(model, volume, make_sinks, on_windows)
    return pending if not changed else pending.with_warnings(changed)


def _inferred(model: LoadedModel, volume: Volume, make_sinks: MakeSinks, on_windows: OnWindows) -> PendingOutputs:
    channels = len(model.spec.input.channels)
    if len(volume.array) != channels:
        raise InputError(f"{volume.name}: has {len(volume.array)} channels; the model takes {channels}")
    if isinstance(model, LoadedRecipe):
        return _by_recipe(model, volume, make_sinks, on_windows)
    if isinstance(model, LoadedEnsemble):
        members = model.leaves

        def begin(number: int, plan: CasePlan, clock: Clock) -> NetworkRun:
            return _begun(members[number], volume, (plan, *plan.beside)[number], clock)

        return infer_ensemble(model, volume, make_sinks, begin, on_windows)
    plan = model.plan(volume.grid, volume.array.itemsize, batch=1 if model.auto_batch else None)
    previous, earlier, done_before = _earlier(model, volume, plan, on_windows)

    def count(done: int, every: int) -> None:
        on_windows(done_before + done, done_before + every)

    workspace, notes = model.workspaces.choose(plan)
    notes += [*earlier, *plan.warnings]
    try:
        return _attempt(model, workspace, volume, previous, plan, make_sinks, count, notes)
    except Exception as error:
        if workspace is model.workspaces.host or not model.workspaces.leave_device(error):
            raise
    model.workspaces.free_device()  # the tensors that the error refers to are released only now
    workspace, more = model.workspaces.choose(plan)
    notes += [*more, "the device's memory ran out; from here on overlaps are summed in host memory"]
    return _attempt(model, workspace, volume, previous, plan, make_sinks, count, notes)


def _begun(model: LoadedModel, volume: Volume, plan: CasePlan, clock: Clock) -> NetworkRun:
    """Prepare a case for one member of an ensemble."""
    previous, notes, _ = _earlier(model, volume, plan, lambda done, every: None)
    run = NetworkRun(model, model.workspaces.host, volume, previous, plan, clock)
    run.notes[:0] = notes
    return run


def _by_recipe(
    model: LoadedRecipe, volume: Volume, make_sinks: MakeSinks, on_windows: OnWindows
) -> PendingOutputs:
    plans = [member.plan(volume.grid, volume.array.itemsize) for member in model.members]
    every = sum(len(plan.windows) for plan in plans)
    done = [0] * len(plans)

    def label_map_of(number: int) -> tuple[LabelArray, Measurements]:
        def count(windows: int, _: int) -> None:
            done[number] = windows
            on_windows(sum(done), every)

        back = plans[number].reorientation.inverse
        return _label_map(model.members[number], volume, volume.grid, back, count)

    return infer_recipe(model, volume, make_sinks, label_map_of)


def _earlier(
    model: LoadedModel, volume: Volume, plan: CasePlan, on_windows: OnWindows
) -> tuple[LabelArray | None, list[str], int]:
    """The result of `_previous_stage`, or the label map that was given; None for a model of a single stage."""
    if model.given_masks is not None:
        return given_mask(model.given_masks, volume, plan.reorientation), [], 0
    if model.previous is not None:
        return _previous_stage(model.previous, volume, plan, on_windows)
    return None, [], 0


def _previous_stage(
    model: LoadedModel, volume: Volume, plan: CasePlan, on_windows: OnWindows
) -> tuple[LabelArray, list[str], int]:
    """Run the previous stage: its label map on the native grid, in the model's orientation; notes; windows run."""
    labels, found = _label_map(
        model, volume, plan.native, UNCHANGED, lambda done, every: on_windows(done, every + len(plan.windows))
    )
    return labels, [f"first stage: {text}" for text in found.warnings], found.windows


def _label_map(
    model: LoadedModel, volume: Volume, grid: Grid, turned: Reorientation, on_windows: OnWindows
) -> tuple[LabelArray, Measurements]:
    """Run another model: its label map in memory, reoriented to `grid`, and its measurements."""

    def in_memory(header: OutputHeader) -> list[LabelMapSink]:
        return [LabelMapSink(None, replace(header, grid=grid, reorientation=turned))]

    pending = infer(model, volume, in_memory, on_windows)
    (sink,) = (sink for sink in pending.sinks if isinstance(sink, LabelMapSink))
    return sink.finished.labels, pending.measurements


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
    clock = Clock()
    run = NetworkRun(model, workspace, volume, previous, plan, clock)
    notes += run.notes
    plan = run.plan

    def header(decision: Decision) -> OutputHeader:
        return replace(model.header(volume.grid, plan, decision), previous=previous)

    sinks = CaseSinks(make_sinks, header, run.prepared.part, plan.native.size)
    every = len(plan.windows) * len(run.networks)
    compared: AgreementStats | None = None
    try:
        if len(run.networks) > 1:
            stats, compared = _members(run, workspace, sinks.open, lambda done: on_windows(done, every))
        else:
            stats = segment(
                run.prepared.volume,
                plan.windows,
                plan.model,
                run.forward,
                model.spec.output,
                sinks.open,
                workspace=workspace,
                repair=run.repair,
                batch=model.batch,
                on_windows=lambda done: on_windows(done, every),
            )
        clock.lap("engine")
    except BaseException:
        sinks.abort()
        raise
    warnings = [*notes, *run.finish()]
    measured = measurements(stats, sinks.labels, plan, every, clock, warnings, compared=compared)
    rules, uncertainty = model.spec.output.postprocessing, sinks.on_file_grid(stats.uncertainty)
    return PendingOutputs(sinks.open_outputs, measured, rules, uncertainty)


def _members(
    run: NetworkRun, workspace: Workspace, open_outputs: OpenOutputs, on_windows: Callable[[int], None]
) -> tuple[SegmentStats, AgreementStats]:
    """As `segment`, for all members of a model; returns how far they agree, too."""
    output = run.model.spec.output
    agreement = Agreement(output, [network.member.weight for network in run.networks])
    slabs = mean_slabs(run, workspace, agreement, on_windows)
    stats = decide(slabs, run.plan.model, replace(output, values="probabilities"), open_outputs, workspace)
    return stats, agreement.result()
