"""A run over a folder: plan, computing by an executor, second attempts, and the ledger."""

from __future__ import annotations

import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from itk_infer._version import __version__
from itk_infer.case.case import Case
from itk_infer.errors import ConfigError, InterruptedRunError, ItkInferError, LockLostError, OutputError
from itk_infer.events import CaseDone, CaseFailed, CaseSkipped, Events, RunDone, RunStarted, Warned
from itk_infer.executors.executor import Executor
from itk_infer.executors.loader import ModelInfo
from itk_infer.executors.messages import CaseBegun, Failed, Finished, Message, Reported, Stopped, Task, WorkerDied
from itk_infer.files.commit import sweep_partials, verified_by
from itk_infer.files.folders import make_folder
from itk_infer.files.intent import remove_intent
from itk_infer.files.temporary import SHARED_MEMORY, temporary_folder
from itk_infer.outputs.registry import OUTPUTS, PREVIOUS_STAGE, painted_note
from itk_infer.run.about import about_run
from itk_infer.run.cases import Inputs
from itk_infer.run.ledger import NAME as LEDGER
from itk_infer.run.ledger import Ledger
from itk_infer.run.ledger_file import ledger_fault
from itk_infer.run.lock import FolderLock
from itk_infer.run.passed_over import PassedOver
from itk_infer.run.plan import ALREADY_DONE, CaseAction, make_plan
from itk_infer.run.settings import RunSettings
from itk_infer.run.shard import shard_ledgers
from itk_infer.run.stop import StopRequest
from itk_infer.run.summary import Summary
from itk_infer.run.summary_file import write_summary
from itk_infer.run.tables import write_derived
from itk_infer.streams import open_missing_streams

if TYPE_CHECKING:
    from itk_infer.predictor import Predictor

MOST_ATTEMPTS = 2  # attempts of a case whose worker dies


def run_folder(
    predictor: Predictor, settings: RunSettings, events: Events | None = None, command: Sequence[str] = ()
) -> Summary:
    """Segment a folder in this process, without workers. See `run_cases`.

    Args:
        predictor: The loaded model.
        settings: Folders and outputs.
        events: Passes the events of the run to its listeners.
        command: The command line, for the ledger.
    """
    from itk_infer.executors.in_process import InProcess

    return run_cases(InProcess(predictor), settings, events, command)


def run_cases(
    executor: Executor,
    settings: RunSettings,
    events: Events | None = None,
    command: Sequence[str] = (),
    on_model: Callable[[ModelInfo], None] = lambda facts: None,
) -> Summary:
    """Segment a folder.

    A case that fails, or a worker that ends, does not stop the other cases. A signal stops the run between two
    windows; finished results are kept, and the next run computes the rest.

    Args:
        executor: Computes the cases.
        settings: Folders and outputs.
        events: Passes the events of the run to its listeners.
        command: The command line, for the ledger.
        on_model: Called with the model's description as soon as it is loaded.

    Raises:
        ModelError: the model cannot be loaded.
        ConfigError: the folders cannot be used, or another run is writing to the output folder.
        NoInputError: there is no image.
    """
    open_missing_streams()
    events = events or Events()
    with temporary_folder(settings.output, SHARED_MEMORY), StopRequest() as stop, executor:
        checks = [stop.check]

        def check() -> None:
            for function in checks:
                function()

        facts = executor.open(check)
        on_model(facts)
        if PREVIOUS_STAGE in settings.outputs and not facts.input.previous_labels:
            raise ConfigError("`keep_previous`: this model has no earlier stage; leave it out")
        inputs = settings.find_inputs(facts.input)
        make_folder(settings.output)
        with _lock(settings, events, stop) as lock, _ledger(settings, inputs.cases, lock) as ledger:
            if lock is not None:
                checks.append(lock.raise_if_lost)
            run = _Run(executor, settings, events, ledger, check, lock, inputs.cases)
            plan = make_plan(inputs.cases, settings, facts.identity, ledger)
            run.sweep()
            ledger.begin_run(events.run, about_run(facts, command))
            return run.work(plan, inputs, facts)


def _lock(settings: RunSettings, events: Events, stop: StopRequest) -> AbstractContextManager[FolderLock | None]:
    """The lock of the output folder; none if the output is one file, which is written atomically."""
    if settings.file_name is not None:
        return nullcontext()
    return FolderLock(
        settings.output, settings.shard, tell=lambda words: events.emit(Warned(words)), check=stop.check
    )


@contextmanager
def _ledger(settings: RunSettings, cases: Sequence[Case], lock: FolderLock | None) -> Iterator[Ledger]:
    """The ledger to write, in memory if the output is one file; a shard's starts with records of other ledgers."""
    shard = settings.shard
    name = LEDGER if shard is None else f"{shard.stem}.db"
    try:
        verify = (lambda: None) if lock is None else lock.verify
        with closing(Ledger(settings.output, name=name, verify=verify, in_memory=lock is None)) as ledger:
            if shard is None:
                yield ledger
                return
            names = [case.name for case in cases]
            for other in {settings.output / LEDGER, *shard_ledgers(settings.output)}:
                if other.name != name:
                    with closing(Ledger(settings.output, read_only=True, name=other.name)) as known:
                        ledger.adopt(known, names)
            yield ledger
    except sqlite3.Error as error:
        raise ledger_fault(settings.output / name, error) from error


class _Run:
    def __init__(
        self,
        executor: Executor,
        settings: RunSettings,
        events: Events,
        ledger: Ledger,
        check: Callable[[], None],
        lock: FolderLock | None,
        cases: Sequence[Case],
    ) -> None:
        self.executor = executor
        self.settings = settings
        self.events = events
        self.ledger = ledger
        self.check = check
        self.lock = lock
        self.cases = cases
        self.summary = Summary()
        self.actions: dict[str, CaseAction] = {}
        self.open: dict[str, Task] = {}
        self.attempts: dict[str, int] = {}  # as the ledger counts them, over all runs
        self.deaths: Counter[str] = Counter()

    def sweep(self) -> None:
        """Remove unfinished files of killed runs, and of killed workers of this run."""
        if self.lock is None:
            sweep_partials(self.settings.output, of=self.settings.target_files)
            return
        others = self.settings.shard is not None and self.lock.others()
        if not others:
            before = self.lock.since if self.settings.shard is not None else None
            nested = self.settings.recursive or any(case.folder.name for case in self.cases)
            sweep_partials(self.settings.output, nested, before)

    def work(self, plan: list[CaseAction], inputs: Inputs, facts: ModelInfo) -> Summary:
        started, summary = time.monotonic(), self.summary
        passed = len(inputs.passed)
        skipped = sum(planned.action == "skip" for planned in plan) + passed
        self.events.emit(
            RunStarted(__version__, len(plan) + passed, skipped, self.executor.workers, facts.device, facts.name)
        )
        output = facts.about["spec"]["output"]
        painted = painted_note(self.settings.outputs, output["decision"], len(output.get("labels") or ()))
        for note in filter(None, (*inputs.notes, painted)):
            self._warn(note)
        try:
            self._work(plan, inputs)
            if self.deaths or summary.exit_code:  # a killed worker leaves its unfinished files
                self.sweep()
            self._derive()
            summary.exit_code = summary.exit_code or _exit_code(summary, plan)
            if self.settings.summary is not None:
                write_summary(self.settings.summary, plan, summary, self.ledger, facts.name)
            self.ledger.end_run(self.events.run, summary.exit_code)
        except (LockLostError, sqlite3.Error) as error:
            if self.lock is not None and not self.ledger_path.exists():
                self._end_without_ledger(plan)
                summary.exit_code = _exit_code(summary, plan)
            elif isinstance(error, LockLostError):  # the folder belongs to another run now
                self._give_up(error)
            else:
                raise
        summary.seconds = time.monotonic() - started
        counts = len(summary.done), len(summary.failed), len(summary.skipped)
        self.events.emit(RunDone(*counts, round(summary.seconds, 3), summary.exit_code))
        return summary

    @property
    def ledger_path(self) -> Path:
        """The file of the ledger."""
        shard = self.settings.shard
        return self.settings.output / (f"{shard.stem}.db" if shard else LEDGER)

    def _work(self, plan: list[CaseAction], inputs: Inputs) -> None:
        try:
            self._settle_the_rest(plan, inputs.passed)
            self._compute(plan)
        except LockLostError:
            raise
        except (InterruptedRunError, ItkInferError) as error:
            self.executor.stop(self._take)
            self.summary.exit_code = error.exit_code
            self.summary.problem = "" if isinstance(error, InterruptedRunError) else str(error)

    def _end_without_ledger(self, plan: list[CaseAction]) -> None:
        """Stop because the output folder or its ledger was removed, and count lost results as failed."""
        self.executor.stop(lambda message: None)
        gone = self.ledger_path if self.settings.output.is_dir() else self.settings.output
        self.summary.problem = (
            f"{gone} vanished during the run (deleted, moved or unmounted), so nothing can be recorded any more; "
            "run the same command again, in a folder that stays"
        )
        for planned in plan:
            case, name = planned.case, planned.case.name
            had_results = planned.action == "skip" or name in self.summary.done
            if name in self.summary.failed or (had_results and os.path.lexists(self.settings.label_path(case))):
                continue
            reason = f"its results vanished with {gone}" if had_results else f"not finished: {gone} vanished"
            self.summary.done = [other for other in self.summary.done if other != name]
            self.summary.skipped.pop(name, None)
            self.summary.failed[name] = reason
            self.events.emit(CaseFailed(name, reason, self.attempts.get(name, 0)))

    def _give_up(self, lost: LockLostError) -> None:
        """End without writing or deleting anything; running cases are dropped and not recorded."""
        self.summary.exit_code, self.summary.problem = lost.exit_code, str(lost)
        self.executor.stop(lambda message: None)

    def _settle_the_rest(self, plan: list[CaseAction], passed: Sequence[PassedOver]) -> None:
        """Record inputs that need not be computed."""
        self.ledger.confirm([planned.case.name for planned in plan if planned.reason == ALREADY_DONE])
        if passed:
            self.ledger.settle_all({item.name: item.reason for item in passed}, self.events.run, "skipped")
        for item in passed:
            self.summary.skipped[item.name] = item.reason
            self.summary.passed_over.append(item.name)
            self.events.emit(CaseSkipped(item.name, item.reason, item.sort))
        for planned in plan:
            self.check()
            if planned.action == "skip":
                self._skip(planned.case, planned.reason, planned.reason != ALREADY_DONE)
            elif planned.action == "fail":
                self._fail(planned.case.name, planned.reason, 0, 0)

    def _compute(self, plan: list[CaseAction]) -> None:
        todo = [planned for planned in plan if planned.action == "run"]
        if self.executor.workers > 1:  # the largest first, so that workers end at about the same time
            todo = sorted(todo, key=lambda planned: _size(planned.case), reverse=True)
        self.ledger.enqueue([planned.case.name for planned in todo], self.events.run)
        cases = [planned.case for planned in plan]
        self.ledger.locate({case.name: [str(path.absolute()) for path in case.paths] for case in cases})
        ticket = None if self.lock is None else self.lock.ticket
        for planned in todo:
            self.actions[planned.case.name] = planned
            self._submit(Task(planned.case, self.settings.output, planned.wanted, lock=ticket))
        while self.open:
            self.check()
            self.executor.step(self._take)

    def _submit(self, task: Task) -> None:
        self.open[task.name] = task
        self.executor.submit(task)

    def _take(self, message: Message) -> None:
        """Record a message of the executor, and emit its event."""
        match message:
            case Reported():
                self.events.emit(message.event)
            case CaseBegun():
                self._begin(self.actions[message.name])
            case Finished():
                del self.open[message.name]
                self.ledger.finish(message.name, message.inputs, message.results, message.outputs)
                for output in message.outputs:
                    remove_intent(self.settings.output / output.path)
                self.summary.done.append(message.name)
                results = message.results
                self.events.emit(
                    CaseDone(
                        message.name,
                        message.paths,
                        message.seconds,
                        results["confidence"],
                        message.volumes_ml,
                        results["seconds"],
                        message.worker,
                        results["soft_dice"],
                        results["worst_label"],
                    )
                )
            case Failed():
                del self.open[message.name]
                self._fail(message.name, message.reason, self.attempts.get(message.name, 1), message.worker)
            case WorkerDied():
                self._retry_or_fail(message)
            case Stopped():
                del self.open[message.name]
                self.ledger.settle(message.name, self.events.run, "interrupted", "the run was stopped")

    def _begin(self, planned: CaseAction) -> None:
        name = planned.case.name
        self.attempts[name] = self.ledger.start(name, self.events.run)
        if self.deaths[name]:
            return
        for path in planned.kept:
            self._warn(f"{name}: kept {path}: another program changed it; `overwrite` replaces it")
        for output, path in planned.outdated:
            self._warn(f"{name}: {path} stays as an earlier run left it; {OUTPUTS[output].request} renews it")
        if planned.reason:
            self._warn(f"{name}: computed again: {planned.reason}")

    def _retry_or_fail(self, died: WorkerDied) -> None:
        """Retry a case whose worker ended, once, in fp32 and with one window per call."""
        task = self.open.pop(died.name)
        self.deaths[died.name] += 1
        if self.deaths[died.name] < MOST_ATTEMPTS:
            self._warn(f"{died.name}: {died.reason}; it is tried once more, in fp32 and one window per call")
            self._submit(replace(task, safer=True))
        else:
            reason = f"{died.reason}; the same happened before, so it is not tried again"
            self._fail(died.name, reason, self.attempts.get(died.name, 1), died.worker)

    def _derive(self) -> None:
        """Update the tables."""
        if self.lock is None or self.settings.shard is not None:
            return  # none for one file; for shards, `itk_infer report` makes them from all ledgers
        try:
            with verified_by(self.lock.verify):
                kept = write_derived(
                    self.settings.output,
                    self.ledger,
                    asked=self.settings.outputs,
                    overwrite=self.settings.overwrite,
                    calibration=self.settings.calibration,
                )
        except (OutputError, OSError) as error:
            kept = [f"the tables are not up to date: {error}; itk_infer report makes them again"]
        for sentence in kept:
            self._warn(sentence)

    def _skip(self, case: Case, reason: str, noteworthy: bool) -> None:
        if noteworthy:
            self.ledger.settle(case.name, self.events.run, "skipped", reason)
        self.summary.skipped[case.name] = reason
        self.events.emit(CaseSkipped(case.name, reason))

    def _fail(self, name: str, reason: str, attempt: int, worker: int) -> None:
        self.ledger.settle(name, self.events.run, "failed", reason)
        self.summary.failed[name] = reason
        self.events.emit(CaseFailed(name, reason, attempt, worker))

    def _warn(self, message: str) -> None:
        self.events.emit(Warned(message))


def _exit_code(summary: Summary, plan: Sequence[CaseAction]) -> int:
    """The exit code, from the cases only, without inputs that were passed over."""
    return 0 if not summary.failed else 4 if len(summary.failed) == len(plan) else 3


def _size(case: Case) -> int:
    """Bytes of a case's files, as an estimate of its cost."""
    return sum(path.stat().st_size if path.is_file() else 0 for path in case.files)
