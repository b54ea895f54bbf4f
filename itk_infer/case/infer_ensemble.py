"""One volume through several models: their probabilities or logits on its own grid are averaged, slab by slab."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

from itk_infer.arrays import Array
from itk_infer.case.clock import Clock
from itk_infer.case.loaded_ensemble import LoadedEnsemble
from itk_infer.case.loaded_model import LoadedModel
from itk_infer.case.network_run import NetworkRun
from itk_infer.case.outputs import CaseSinks, MakeSinks
from itk_infer.case.plan import CasePlan
from itk_infer.case.result import PendingOutputs, measurements
from itk_infer.engine.agreement import Agreement
from itk_infer.engine.decision import Decision
from itk_infer.engine.ensemble import activated, around, mean_of, probabilities, reordered
from itk_infer.engine.native import to_native
from itk_infer.engine.segment import decide
from itk_infer.engine.slabs import finished_slabs
from itk_infer.engine.workspace import Slab, Workspace
from itk_infer.model.ensemble import Mean
from itk_infer.volume.interpolation import AxisMap, ModelGrid
from itk_infer.volume.volume import Volume


def infer_ensemble(
    model: LoadedEnsemble,
    volume: Volume,
    make_sinks: MakeSinks,
    begin: Callable[[CasePlan, Clock], list[NetworkRun]],
    on_windows: Callable[[int, int], None],
) -> PendingOutputs:
    """Segment a volume with all members in step: none is ever ahead of the others by more than a slab.

    Args:
        model: The members.
        volume: The case.
        make_sinks: As of `infer`.
        begin: Prepares the case for each member, by the plan of all.
        on_windows: As of `infer`.

    Raises:
        CaseError: the case cannot be finished; no sink has left anything behind.
    """
    plan = model.plan(volume.grid, volume.array.itemsize)
    model.workspaces.check(plan)
    # Several models share a device, and what each leaves there is not known: sums are in host memory.
    workspace: Workspace = model.workspaces.host
    clock = Clock()
    runs = begin(plan, clock)
    done = [0] * len(runs)
    every = sum(len(run.plan.windows) for run in runs)

    def counter(number: int) -> Callable[[int], None]:
        def count(windows: int) -> None:
            done[number] = windows
            on_windows(sum(done), every)

        return count

    size = plan.native.size
    z, y, x = (AxisMap(n, n, 1.0, 0.0) for n in size)
    sinks = CaseSinks(make_sinks, lambda decision: model.header(volume.grid, plan, decision), None, size)
    leaves = iter([(run, counter(number)) for number, run in enumerate(runs)])

    agreement, output = Agreement(model.spec.output, model.weights), model.spec.output

    def compare(parts: Sequence[Array], mean: Array) -> None:
        if model.mean == "logits":
            parts = [activated(part, output) for part in parts]
            mean = sum(weight * part for weight, part in zip(model.weights, parts, strict=True))
        agreement.add(parts, mean)

    def stream(one: LoadedModel, wanted: Mean) -> Iterator[Slab]:
        if not isinstance(one, LoadedEnsemble):
            return _whole(*next(leaves), workspace, size, wanted)
        parts = [
            reordered(stream(each, one.mean), order) for each, order in zip(one.members, one.orders, strict=True)
        ]
        mean = mean_of(parts, one.weights, compare if one is model else None)
        return probabilities(mean, one.spec.output) if wanted == "probabilities" else mean

    try:
        stats = decide(stream(model, model.mean), ModelGrid((z, y, x)), model.spec.output, sinks.open, workspace)
        clock.lap("engine")
    except BaseException:
        sinks.abort()
        raise
    warnings = [*plan.warnings, *(text for run in runs for text in (*run.notes, *run.finish()))]
    compared = agreement.result()
    measured = measurements(
        stats, sinks.labels, plan, every, clock, warnings, on_model_grid=False, compared=compared
    )
    rules, uncertainty = model.spec.output.postprocessing, sinks.on_file_grid(stats.uncertainty)
    return PendingOutputs(sinks.open_outputs, measured, rules, uncertainty)


def _whole(
    run: NetworkRun,
    on_windows: Callable[[int], None],
    workspace: Workspace,
    size: tuple[int, int, int],
    wanted: Mean,
) -> Iterator[Slab]:
    """Slabs of one member's probabilities or logits over the whole native grid."""
    output = run.model.spec.output
    slabs = finished_slabs(
        run.prepared.volume,
        run.plan.windows,
        run.forward,
        workspace,
        repair=run.repair,
        batch=run.model.batch,
        on_windows=on_windows,
    )
    if output.resample == "probabilities":
        slabs, output = probabilities(slabs, output), replace(output, values="probabilities")
    if not run.plan.model.identity:
        slabs = to_native(slabs, run.plan.model, workspace.slab_bytes)
    if wanted == "probabilities":
        slabs = probabilities(slabs, output)
    first = next(slabs)
    outside = Decision(replace(output, values=wanted), len(first.logits)).outside()
    yield from around(chain([first], slabs), run.prepared.part, size, outside)
