"""Members of an ensemble run one after the other, where they do not fit in memory together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain, count

import numpy as np
from numpy.typing import NDArray

from itk_infer.case.loaded_ensemble import LoadedEnsemble
from itk_infer.case.loaded_model import LoadedModel
from itk_infer.case.network_run import NetworkRun
from itk_infer.case.plan import CasePlan
from itk_infer.engine.agreement import AgreementStats
from itk_infer.engine.decision import Decision
from itk_infer.engine.ensemble import around, probabilities
from itk_infer.engine.native import to_native
from itk_infer.engine.plane_range import slabs_of_range
from itk_infer.engine.slabs import finished_slabs, height_that_fits
from itk_infer.engine.windows import WindowGrid
from itk_infer.engine.workspace import Slab, Workspace
from itk_infer.model.ensemble import Mean

Floats = NDArray[np.float32]


class OneByOne:
    """Runs the members one after the other in each of several ranges of native planes, whose mean it holds.

    Each member prepares the image again in every range, and windows that two ranges need are run twice.

    Args:
        model: The members.
        plan: The case's plan, with the number of ranges.
        begin: Prepares the case for the member with this index.
        workspace: Where windows are summed.
        on_windows: Called with the windows done, and the total number of windows.

    Attributes:
        windows: Windows run so far.
    """

    def __init__(
        self,
        model: LoadedEnsemble,
        plan: CasePlan,
        begin: Callable[[int], NetworkRun],
        workspace: Workspace,
        on_windows: Callable[[int, int], None],
    ) -> None:
        self._model, self._plan, self._begin, self._workspace = model, plan, begin, workspace
        self._on_windows = on_windows
        self._every = sum(len(each.windows) for each in (plan, *plan.beside))
        self._parts_done = 0
        self._warnings: list[str] = []
        self.windows = 0

    def slabs(self) -> Iterator[Slab]:
        """Yield slabs of the mean on the native grid, (C, planes, Y, X)."""
        depth, ranges = self._plan.native.size[0], self._plan.ranges
        for number in range(ranges):
            planes = range(depth * number // ranges, depth * (number + 1) // ranges)
            mean = self._mean(self._model, self._model.mean, planes, count())
            height = height_that_fits(len(mean), self._plan.native.size[1:], self._workspace.slab_bytes)
            for start in range(0, len(planes), height):
                yield Slab(planes.start + start, mean[:, start : start + height])

    def warnings(self) -> list[str]:
        """Return warnings, once all windows have run."""
        return self._warnings

    def compared(self) -> AgreementStats | None:
        """None: the members are never in memory together, and are not compared."""
        return None

    def _mean(self, one: LoadedModel, wanted: Mean, planes: range, numbers: Iterator[int]) -> Floats:
        """Some planes of one member's result, or of the mean of an ensemble's members, (C, planes, Y, X)."""
        if not isinstance(one, LoadedEnsemble):
            return self._member(next(numbers), wanted, planes)
        total = np.zeros(0, np.float32)
        for member, order, weight in zip(one.members, one.orders, one.weights, strict=True):
            part = self._mean(member, one.mean, planes, numbers)
            part = part if order is None else part[list(order)]
            part *= np.float32(weight)
            total = np.add(total, part, out=total) if total.size else part
        if wanted == "probabilities":
            for slab in probabilities([Slab(planes.start, total)], one.spec.output):
                total = slab.logits
        return total

    def _member(self, number: int, wanted: Mean, planes: range) -> Floats:
        run = self._begin(number)
        whole = np.zeros(0, np.float32)
        done = 0
        for slab in self._slabs_of(run, wanted, planes):
            if not whole.size:
                whole = np.empty((len(slab.logits), len(planes), *self._plan.native.size[1:]), np.float32)
            stop = done + slab.logits.shape[1]
            whole[:, done:stop] = slab.logits
            done = stop
        self._warnings += [*run.notes, *run.finish()]
        self._parts_done += 1
        return whole

    def _slabs_of(self, run: NetworkRun, wanted: Mean, planes: range) -> Iterable[Slab]:
        """Slabs of one member's probabilities or logits for a range of native planes."""
        output, model, part = run.model.spec.output, run.plan.model, run.prepared.part
        begin = 0 if part is None else part[0].start
        # At least one plane of what the member sees, so that the number of its channels is known.
        last = model.axes[0].native - 1
        first = min(max(planes.start - begin, 0), last)
        native = range(first, max(min(planes.stop - begin, last + 1), first + 1))
        slabs = slabs_of_range(lambda some: self._run(run, some), run.plan.windows, model, native)
        if output.resample == "probabilities":
            slabs, output = probabilities(slabs, output), replace(output, values="probabilities")
        if not model.identity:
            slabs = to_native(slabs, model, self._workspace.slab_bytes, native)
        if wanted == "probabilities":
            slabs = probabilities(slabs, output)
        if part is None:
            return slabs
        start = next(slabs)
        outside = Decision(replace(output, values=wanted), len(start.logits)).outside()
        size = (len(planes), *self._plan.native.size[1:])
        if not range(max(planes.start, part[0].start), min(planes.stop, part[0].stop)):
            empty = np.empty((len(outside), *size), np.float32)
            empty[...] = outside[:, None, None, None]
            return [Slab(planes.start, empty)]
        inside = slice(native.start + begin - planes.start, native.stop + begin - planes.start)
        return around(chain([start], slabs), (inside, part[1], part[2]), size, lambda _: outside)

    def _run(self, run: NetworkRun, windows: WindowGrid) -> Iterator[Slab]:
        parts = self._plan.ranges * (len(self._plan.beside) + 1)

        def on_windows(done: int) -> None:
            self._on_windows(int(self._every * (self._parts_done + done / len(windows)) / parts), self._every)

        self.windows += len(windows)
        return finished_slabs(
            run.prepared.volume,
            windows,
            run.forward,
            self._workspace,
            repair=run.repair,
            batch=run.model.batch,
            on_windows=on_windows,
        )
