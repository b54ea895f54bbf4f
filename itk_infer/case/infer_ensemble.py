"""Segment one volume with several models: average their probabilities or logits on its grid, slab by slab."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from itk_infer.arrays import Array
from itk_infer.case.clock import Clock
from itk_infer.case.loaded_ensemble import LoadedEnsemble
from itk_infer.case.loaded_model import LoadedModel
from itk_infer.case.network_run import NetworkRun
from itk_infer.case.one_by_one import OneByOne
from itk_infer.case.outputs import CaseSinks, MakeSinks
from itk_infer.case.plan import CasePlan
from itk_infer.case.result import PendingOutputs, measurements
from itk_infer.engine.activation import activated
from itk_infer.engine.agreement import Agreement, AgreementStats
from itk_infer.engine.decision import Decision
from itk_infer.engine.ensemble import around, mean_of, probabilities, reordered
from itk_infer.engine.native import to_native
from itk_infer.engine.segment import decide
from itk_infer.engine.slabs import finished_slabs
from itk_infer.engine.workspace import Slab, Workspace
from itk_infer.model.ensemble import Mean
from itk_infer.volume.interpolation import AxisMap, ModelGrid
from itk_infer.volume.volume import Volume

Begin = Callable[[int, CasePlan, Clock], NetworkRun]
Leaf = tuple[NetworkRun, Callable[[int], None]]  # a member that is one model, and its counter of windows


def infer_ensemble(
    model: LoadedEnsemble,
    volume: Volume,
    make_sinks: MakeSinks,
    begin: Begin,
    on_windows: Callable[[int, int], None],
) -> PendingOutputs:
    """Segment a volume with all members in step: none is ahead of another by more than one slab.

    If they do not fit in memory together, they run one after the other, see `OneByOne`.

    Args:
        model: The members.
        volume: The case's image.
        make_sinks: As of `infer`.
        begin: Prepares the case for a member, by its index, its plan and a clock.
        on_windows: As of `infer`.

    Raises:
        CaseError: the case cannot be finished; all files of its sinks are removed.
    """
    plan = model.plan(volume.grid, volume.array.itemsize)
    model.workspaces.check(plan)
    # Several models share a device, and how much memory each leaves free is not known: sums are in host memory.
    workspace: Workspace = model.workspaces.host.for_members()
    clock = Clock()
    way = OneByOne if plan.ranges > 1 else InStep
    members = way(model, plan, lambda number: begin(number, plan, clock), workspace, on_windows)
    z, y, x = (AxisMap(n, n, 1.0, 0.0) for n in plan.native.size)
    sinks = CaseSinks(
        make_sinks, lambda decision: model.header(volume.grid, plan, decision), None, plan.native.size
    )
    try:
        stats = decide(members.slabs(), ModelGrid((z, y, x)), model.spec.output, sinks.open, workspace)
        clock.lap("engine")
    except BaseException:
        sinks.abort()
        raise
    warnings = [*plan.warnings, *dict.fromkeys(members.warnings())]
    measured = measurements(
        stats,
        sinks.labels,
        plan,
        members.windows,
        clock,
        warnings,
        on_model_grid=False,
        compared=members.compared(),
    )
    rules, uncertainty = model.spec.output.postprocessing, sinks.on_file_grid(stats.uncertainty)
    return PendingOutputs(sinks.open_outputs, measured, rules, uncertainty)


class InStep:
    """Runs all members at the same time, each with a ring of its own.

    Args:
        model: The members.
        plan: The case's plan.
        begin: Prepares the case for the member with this index.
        workspace: Where windows are summed.
        on_windows: Called with the windows done, and the total number of windows.

    Attributes:
        windows: Windows of all members.
    """

    def __init__(
        self,
        model: LoadedEnsemble,
        plan: CasePlan,
        begin: Callable[[int], NetworkRun],
        workspace: Workspace,
        on_windows: Callable[[int, int], None],
    ) -> None:
        self._model, self._workspace, self._size = model, workspace, plan.native.size
        self._runs = [begin(number) for number in range(len(model.leaves))]
        self._done = [0] * len(self._runs)
        self._on_windows = on_windows
        self._agreement = Agreement(model.spec.output, model.weights)
        self.windows = sum(len(run.plan.windows) for run in self._runs)

    def slabs(self) -> Iterator[Slab]:
        """Yield slabs of the mean on the native grid, (C, planes, Y, X)."""
        leaves = iter([(run, self._counter(number)) for number, run in enumerate(self._runs)])
        return self._stream(self._model, self._model.mean, leaves)

    def _stream(self, one: LoadedModel, wanted: Mean, leaves: Iterator[Leaf]) -> Iterator[Slab]:
        if not isinstance(one, LoadedEnsemble):
            return _whole(*next(leaves), self._workspace, self._size, wanted)
        members = zip(one.members, one.orders, strict=True)
        parts = [reordered(self._stream(each, one.mean, leaves), order) for each, order in members]
        mean = mean_of(parts, one.weights, self._compare if one is self._model else None)
        return probabilities(mean, one.spec.output) if wanted == "probabilities" else mean

    def warnings(self) -> list[str]:
        """Return warnings, once all windows have run."""
        return [text for run in self._runs for text in (*run.notes, *run.finish())]

    def compared(self) -> AgreementStats | None:
        """Return how far the members agree, once all windows have run."""
        return self._agreement.result()

    def _compare(self, parts: Sequence[Array], mean: Array) -> None:
        model = self._model
        if model.mean == "logits":
            parts = [activated(part, model.spec.output) for part in parts]
            mean = sum(weight * part for weight, part in zip(model.weights, parts, strict=True))
        self._agreement.add(parts, mean)

    def _counter(self, number: int) -> Callable[[int], None]:
        def count(windows: int) -> None:
            self._done[number] = windows
            self._on_windows(sum(self._done), self.windows)

        return count


def _whole(
    run: NetworkRun,
    on_windows: Callable[[int], None],
    workspace: Workspace,
    size: tuple[int, int, int],
    wanted: Mean,
) -> Iterator[Slab]:
    """Return slabs of one member's probabilities or logits on the whole native grid."""
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
    meaning = replace(output, values=wanted)
    return around(slabs, run.prepared.part, size, lambda channels: Decision(meaning, channels).outside())
