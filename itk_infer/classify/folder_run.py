"""One run over a folder: search, classification, and commits of the results every second."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

from itk_infer._version import __version__
from itk_infer.classify.computing import Computing
from itk_infer.classify.database import ResultsDatabase
from itk_infer.classify.messages import FileDone
from itk_infer.classify.pixel_digests import PixelDigests
from itk_infer.classify.plan import ClassifyPlan, make_plan
from itk_infer.classify.settings import ClassifySettings
from itk_infer.classify.settle import settle
from itk_infer.classify.summary import ClassifySummary
from itk_infer.classify.units import Unit, glances, units_of
from itk_infer.errors import InterruptedRunError, ItkInferError, LockLostError, NoInputError
from itk_infer.events import CaseFailed, CaseSkipped, Events, Progress, RunDone, RunStarted, Warned
from itk_infer.files.folders import make_folder
from itk_infer.run.ledger_file import ledger_fault
from itk_infer.run.lock import FolderLock
from itk_infer.run.stop import StopRequest

CHUNK = 1000  # files read from the database at a time


def run_locked(
    computing: Computing, settings: ClassifySettings, events: Events, stop: StopRequest
) -> ClassifySummary:
    """Classify all pictures below a folder, alone in the output folder; see `classify_folder`."""

    def tell(words: str) -> None:
        events.emit(Warned(words))

    make_folder(settings.output)
    make_folder(settings.database_path.parent)
    with FolderLock(settings.database_path.parent, tell=tell, check=stop.check) as lock:
        try:
            database = ResultsDatabase(settings.database_path, verify=lock.verify)
            with closing(database):
                return _FolderRun(computing, settings, events, database, stop).run()
        except sqlite3.Error as error:
            raise ledger_fault(settings.database_path, error) from error


class _FolderRun:
    def __init__(
        self,
        computing: Computing,
        settings: ClassifySettings,
        events: Events,
        database: ResultsDatabase,
        stop: StopRequest,
    ) -> None:
        self.computing, self.facts = computing, computing.facts
        self.settings, self.events = settings, events
        self.database, self.stop = database, stop
        self.summary = ClassifySummary()
        self.started = time.monotonic()

    def run(self) -> ClassifySummary:
        """See `classify_folder`."""
        summary, database, settings = self.summary, self.database, self.settings
        model = database.register_model(self.facts, settings.threshold)
        before = database.last_input()
        if before is not None and before != str(settings.input.absolute()):
            self._warn(
                f"the last run here was over {before}; files are known by their paths below the input, so that "
                "results of other folders are better kept in an output folder of their own"
            )
        database.begin_run(self.events.run, __version__, model, settings.input, settings.about())
        try:
            self._classify(model)
            summary.seconds = time.monotonic() - self.started
            database.end_run(self.events.run, summary.images, round(summary.seconds, 3), summary.exit_code)
        except LockLostError as error:
            summary.exit_code, summary.problem = error.exit_code, str(error)
        return self._ended()

    def _classify(self, model: int) -> None:
        """Classify all waiting files; the summary notes what ended that early, except the loss of the lock."""
        summary, database, facts = self.summary, self.database, self.facts
        try:
            plan = self._plan(model)
            parallel = self.computing.parallel
            self.events.emit(
                RunStarted(__version__, plan.files, plan.up_to_date, parallel, facts.device, facts.name)
            )
            self._work(model, plan)
            for note in self.computing.late_notes():
                self._warn(note)
            database.begin()
            summary.copies, summary.conflicts = settle(
                database.db, PixelDigests(self.settings.root, self.stop.check)
            )
            summary.exit_code = self._exit_code(model)
        except LockLostError:
            raise
        except (InterruptedRunError, ItkInferError) as error:
            summary.exit_code = error.exit_code
            summary.problem = "" if isinstance(error, InterruptedRunError) else str(error)

    def _ended(self) -> ClassifySummary:
        summary = self.summary
        summary.seconds = time.monotonic() - self.started
        counts = (summary.done + summary.unchanged, summary.failed, summary.skipped + summary.up_to_date)
        self.events.emit(RunDone(*counts, round(summary.seconds, 3), summary.exit_code))
        return summary

    def _plan(self, model: int) -> ClassifyPlan:
        plan = make_plan(self.database, self.settings, model, self.stop.check)
        self.summary.up_to_date = plan.up_to_date
        self.database.forget(plan.gone_ids)
        if plan.missing_ids:
            more = len(plan.missing_ids) - len(plan.missing)
            names = ", ".join(plan.missing) + (f" and {more} more" if more else "")
            if self.settings.forget_missing:
                self.database.forget(plan.missing_ids)
                self._warn(f"results of files that are no longer there were dropped: {names}")
            else:
                self._warn(
                    f"files that are no longer there keep their results: {names}; `forget_missing` drops them"
                )
        return plan

    def _work(self, model: int, plan: ClassifyPlan) -> None:
        taken = told = 0

        def take(result: FileDone) -> None:
            nonlocal taken, told
            taken += 1
            self._take(result, model)
            if self.database.commit_if_due():
                told = taken
                self._tell(taken, max(plan.waiting, taken))

        def pause() -> None:
            self.stop.check()
            self.database.commit_if_due()

        self.computing.work(self._units(model), plan.waiting, take, pause)
        if told < taken:
            self._tell(taken, taken)

    def _units(self, model: int) -> Iterator[Unit]:
        """Units of files to read. If neighbours are inputs, all files are read first and grouped by series."""
        if not self.facts.reach:
            for chunk in self.database.waiting(model, CHUNK):
                yield from (Unit((file,)) for file in chunk)
            return
        found = []
        threads = self.settings.own_threads
        for again in (False, True):  # the second time with all files of series that have a new one
            for chunk in self.database.waiting(model, CHUNK):
                self.stop.check()
                fresh = glances(chunk, self.settings.root, threads)
                found += fresh
                self.database.put_series([(item.series, item.file.id) for item in fresh if item.series])
            if again or not self.database.wake_series():
                break
            found.clear()
        yield from units_of(found)

    def _take(self, result: FileDone, model: int) -> None:
        """Record the result of a file, and emit its event."""
        summary = self.summary
        if result.state == "unchanged":
            summary.unchanged += 1
            self.database.unchanged(result.file)
            return
        self.database.record(result, model, members=self.settings.save_members)
        if result.state == "done":
            summary.done += 1
            summary.images += len(result.images)
        elif result.state == "failed":
            summary.failed += 1
            if len(summary.reasons) < 1000:
                summary.reasons[result.path] = result.reason
            self.events.emit(CaseFailed(result.path, result.reason, 1))
        else:
            summary.skipped += 1
            self.events.emit(CaseSkipped(result.path, result.reason, "unread"))

    def _tell(self, taken: int, total: int) -> None:
        spent = time.monotonic() - self.started
        left = spent / taken * (total - taken) if taken else None
        self.events.emit(Progress(self.facts.name, 0, "classify", taken, total, left))

    def _exit_code(self, model: int) -> int:
        failed, done, seen = self.database.counts(model)
        if not done and not failed:
            raise NoInputError(
                f"{self.settings.input}: none of its {seen} files is a picture; give a folder of DICOM files, "
                "pictures or volumes"
            )
        return 0 if not failed else 3 if done else 4

    def _warn(self, words: str) -> None:
        self.events.emit(Warned(words))
