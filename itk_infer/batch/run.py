"""A run over a folder: the plan, the cases by an executor, second attempts, the ledger after each."""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any

from itk_infer._version import __version__
from itk_infer.batch.cases import Case, find_cases
from itk_infer.batch.derived import tables_exist, write_derived
from itk_infer.batch.events import (
    CaseDone,
    CaseFailed,
    CaseSkipped,
    Events,
    RunDone,
    RunStarted,
    Warned,
)
from itk_infer.batch.executor import Executor
from itk_infer.batch.ledger import NAME as LEDGER
from itk_infer.batch.ledger import Ledger
from itk_infer.batch.lock import FolderLock
from itk_infer.batch.messages import Began, Died, Failed, Finished, Message, Stopped, Task, Told
from itk_infer.batch.model import ModelFacts
from itk_infer.batch.plan import ALREADY_DONE, Planned, make_plan
from itk_infer.batch.settings import RunSettings, make_folder
from itk_infer.batch.shard import shard_ledgers
from itk_infer.batch.stop import StopRequest
from itk_infer.errors import ConfigError, Interrupted, ItkInferError, OutputError
from itk_infer.streams import open_missing_streams
from itk_infer.temporary import SHARED_MEMORY, temporary_folder
from itk_infer.volume.claim import release
from itk_infer.volume.commit import sweep_partials

if TYPE_CHECKING:
    from itk_infer.predictor import Predictor

PACKAGES = ("numpy", "SimpleITK", "onnxruntime", "onnxruntime-gpu", "torch", "mmengine", "mmsegmentation", "zarr")
MOST_ATTEMPTS = 2  # of a case whose worker dies


@dataclass(slots=True)
class Summary:
    """How a run ended.

    Attributes:
        done: Case names, in the order they were finished.
        failed: Reasons by case name.
        skipped: Reasons by case name.
        seconds: Wall time.
        exit_code: For the shell.
        problem: Why the whole run ended early; empty if it did not.
    """

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    exit_code: int = 0
    problem: str = ""


def run_batch(
    predictor: Predictor, settings: RunSettings, events: Events | None = None, command: Sequence[str] = ()
) -> Summary:
    """Segment a folder in this process, without starting any other. See `run_cases`.

    Args:
        predictor: The loaded model.
        settings: Folders and outputs.
        events: Who is told what happens.
        command: The command line, for the ledger.
    """
    from itk_infer.batch.in_process import InProcess

    return run_cases(InProcess(predictor, settings), settings, events, command)


def run_cases(
    executor: Executor,
    settings: RunSettings,
    events: Events | None = None,
    command: Sequence[str] = (),
    on_model: Callable[[ModelFacts], None] = lambda facts: None,
) -> Summary:
    """Segment a folder.

    One bad case, or one dead worker, never stops the others. A signal stops the run between two windows;
    what is finished stays, and the next run does the rest.

    Args:
        executor: Computes the cases.
        settings: Folders and outputs.
        events: Who is told what happens.
        command: The command line, for the ledger.
        on_model: Told about the model as soon as it is loaded.

    Raises:
        ModelError: the model cannot be loaded.
        ConfigError: the folders cannot be used, or another run is at work in the output folder.
        NoInputError: there is no image.
    """
    open_missing_streams()
    events = events or Events()
    with temporary_folder(settings.output, SHARED_MEMORY), StopRequest() as stop, executor:
        facts = executor.open(stop.check)
        on_model(facts)
        cases = find_cases(settings.source, settings.output, recursive=settings.recursive, channels=facts.channels)
        make_folder(settings.output)
        shard = settings.shard
        if shard is not None:
            cases = shard.select(cases)
        with FolderLock(settings.output, shard) as lock, _ledger(settings, cases) as ledger:
            run = _Run(executor, settings, events, ledger, stop, lock)
            plan = make_plan(cases, settings, facts.identity, ledger)
            run.sweep()
            ledger.begin_run(events.run, _about(facts, command))
            summary = run.work(plan, facts)
            ledger.end_run(events.run, summary.exit_code)
            return summary


@contextmanager
def _ledger(settings: RunSettings, cases: Sequence[Case]) -> Iterator[Ledger]:
    """The ledger to write. That of a shard begins with what others know of its cases."""
    shard = settings.shard
    try:
        if shard is None:
            with closing(Ledger(settings.output)) as ledger:
                yield ledger
            return
        with closing(Ledger(settings.output, name=f"{shard.stem}.db")) as ledger:
            names = [case.name for case in cases]
            for other in {settings.output / LEDGER, *shard_ledgers(settings.output)}:
                if other.name != f"{shard.stem}.db":
                    with closing(Ledger(settings.output, read_only=True, name=other.name)) as known:
                        ledger.adopt(known, names)
            yield ledger
    except sqlite3.Error as error:
        raise ConfigError(
            f"{settings.output}: the ledger cannot be written ({error}); free some space, or check the file "
            "system, and run the same command again"
        ) from error


class _Run:
    def __init__(
        self,
        executor: Executor,
        settings: RunSettings,
        events: Events,
        ledger: Ledger,
        stop: StopRequest,
        lock: FolderLock,
    ) -> None:
        self.executor = executor
        self.settings = settings
        self.events = events
        self.ledger = ledger
        self.stop = stop
        self.lock = lock
        self.summary = Summary()
        self.open: dict[str, Task] = {}
        self.attempts: dict[str, int] = {}  # as the ledger counts them, over all runs
        self.deaths: Counter[str] = Counter()

    def sweep(self) -> None:
        """Remove what killed runs, or killed workers of this run, have left half written."""
        others = self.settings.shard is not None and self.lock.others()
        if not others:
            before = self.lock.since if self.settings.shard is not None else None
            sweep_partials(self.settings.output, self.settings.recursive, before)

    def work(self, plan: list[Planned], facts: ModelFacts) -> Summary:
        started, summary = time.monotonic(), self.summary
        skipped = sum(planned.action == "skip" for planned in plan)
        self.events.emit(
            RunStarted(__version__, len(plan), skipped, self.executor.workers, facts.device, facts.name)
        )
        try:
            self._settle_the_rest(plan)
            self._compute([planned for planned in plan if planned.action == "run"])
        except (Interrupted, ItkInferError) as error:
            self.executor.stop(self._take)
            summary.exit_code = error.exit_code
            summary.problem = "" if isinstance(error, Interrupted) else str(error)
        if self.deaths or summary.exit_code:  # who was killed could not tidy up
            self.sweep()
        crashed = self.lock.crashed_at is not None
        if summary.done or crashed or not tables_exist(self.settings.output, workbook=self.settings.save_conf):
            self._derive()
        summary.seconds = time.monotonic() - started
        if summary.failed and not summary.exit_code:
            summary.exit_code = 4 if len(summary.failed) == len(plan) else 3
        counts = len(summary.done), len(summary.failed), len(summary.skipped)
        self.events.emit(RunDone(*counts, round(summary.seconds, 3), summary.exit_code))
        return summary

    def _settle_the_rest(self, plan: list[Planned]) -> None:
        """Cases that need no computing."""
        self.ledger.confirm([planned.case.name for planned in plan if planned.reason == ALREADY_DONE])
        for planned in plan:
            self.stop.check()
            if planned.action == "skip":
                self._skip(planned.case, planned.reason, planned.reason != ALREADY_DONE)
            elif planned.action == "fail":
                self._fail(planned.case.name, planned.reason, 0, 0)

    def _compute(self, todo: list[Planned]) -> None:
        if self.executor.workers > 1:  # the largest first, so that none is begun when all others are done
            todo = sorted(todo, key=lambda planned: _size(planned.case), reverse=True)
        self.ledger.enqueue([planned.case.name for planned in todo], self.events.run)
        for planned in todo:
            self._submit(Task(planned))
        while self.open:
            self.stop.check()
            self.executor.step(self._take)

    def _submit(self, task: Task) -> None:
        self.open[task.name] = task
        self.executor.submit(task)

    def _take(self, message: Message) -> None:
        """Write down what an executor tells, and pass it on."""
        match message:
            case Told():
                self.events.emit(message.event)
            case Began():
                self._begin(self.open[message.name].planned)
            case Finished():
                del self.open[message.name]
                self.ledger.finish(message.name, message.inputs, message.results, message.outputs)
                for output in message.outputs:
                    release(self.settings.output / output.path)
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
                    )
                )
            case Failed():
                del self.open[message.name]
                self._fail(message.name, message.reason, self.attempts.get(message.name, 1), message.worker)
            case Died():
                self._mourn(message)
            case Stopped():
                del self.open[message.name]
                self.ledger.settle(message.name, self.events.run, "interrupted", "the run was stopped")

    def _begin(self, planned: Planned) -> None:
        name = planned.case.name
        self.attempts[name] = self.ledger.start(name, self.events.run)
        if self.deaths[name]:
            return
        for path in planned.kept:
            self._warn(f"{name}: kept {path}: somebody else changed it; --overwrite replaces it")
        for path in planned.outdated:
            self._warn(f"{name}: {path} stays as an earlier run left it; --save-logits renews it")
        if planned.reason:
            self._warn(f"{name}: computed again: {planned.reason}")

    def _mourn(self, died: Died) -> None:
        """A case whose worker died gets one more attempt, in which as little as possible can go wrong."""
        task = self.open.pop(died.name)
        self.deaths[died.name] += 1
        if self.deaths[died.name] < MOST_ATTEMPTS:
            self._warn(f"{died.name}: {died.reason}; it is tried once more, in fp32 and one window at a time")
            self._submit(Task(task.planned, safer=True))
        else:
            reason = f"{died.reason}; the same happened before, so it is not tried again"
            self._fail(died.name, reason, self.attempts.get(died.name, 1), died.worker)

    def _derive(self) -> None:
        if self.settings.shard is not None:
            return  # `itk_infer report` makes the tables, from the ledgers of all shards
        try:
            kept = write_derived(
                self.settings.output,
                self.ledger,
                workbook=self.settings.save_conf,
                overwrite=self.settings.overwrite,
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


def _size(case: Case) -> int:
    """Bytes of its files: what can be known of its cost without reading it."""
    return sum(path.stat().st_size if path.is_file() else 0 for path in case.paths)


def _about(facts: ModelFacts, command: Sequence[str]) -> dict[str, Any]:
    versions = {"itk_infer": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "command": list(command),
        "host": platform.node(),
        "pid": os.getpid(),
        "versions": versions,
        "device": facts.device,
        "provider": facts.about["provider"],
        "precision": facts.about["precision"],
        "model": {"name": facts.about["spec"]["name"], "version": facts.about["spec"]["version"]},
        "notes": list(facts.notes),
        "identity": facts.identity,
    }
