"""A run that classifies a folder: the search, the threads, the record after each second."""

from __future__ import annotations

import queue
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from itk_infer._version import __version__
from itk_infer.classifier import Classifier
from itk_infer.classify.database import ResultsDatabase
from itk_infer.classify.find import folders_of
from itk_infer.classify.messages import FileDone
from itk_infer.classify.plan import ClassifyPlan, make_plan
from itk_infer.classify.settings import ClassifySettings
from itk_infer.classify.settle import settle
from itk_infer.classify.units import Unit, glances, units_of
from itk_infer.classify.work import Work
from itk_infer.errors import InputError, InterruptedRunError, ItkInferError, LockLostError, NoInputError
from itk_infer.events import CaseFailed, CaseSkipped, Events, Progress, RunDone, RunStarted, Warned
from itk_infer.files.folders import make_folder
from itk_infer.machine import usable_cores
from itk_infer.run.ledger_file import ledger_fault
from itk_infer.run.lock import FolderLock
from itk_infer.run.stop import StopRequest
from itk_infer.volume.picture_input.opening import open_pictures
from itk_infer.volume.picture_input.picture import NotAPicture

ON_CPU, ON_GPU = 4, 64  # pictures per call
CHUNK = 1000  # files that are read from the record at a time
LOOK_S = 0.1  # how often a signal is looked for while no result comes
CHECKED = 8  # files on which reduced precision is compared with fp32


@dataclass(slots=True)
class ClassifySummary:
    """What a run did.

    Attributes:
        done: Files classified in this run.
        images: Pictures in them.
        up_to_date: Files with results of this model before.
        failed: Files that could not be read, in this run.
        skipped: Files that hold no picture, in this run.
        unchanged: Files that were copied or touched, with results of the same content.
        reasons: The first failures by path.
        seconds: Wall time.
        exit_code: Of the command.
        problem: Why the run was ended; empty: it was not.
        copies: Images that are counted elsewhere.
        conflicts: Images with the UID of another picture.
    """

    done: int = 0
    images: int = 0
    up_to_date: int = 0
    failed: int = 0
    skipped: int = 0
    unchanged: int = 0
    reasons: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    exit_code: int = 0
    problem: str = ""
    copies: int = 0
    conflicts: int = 0


def threads_of(settings: ClassifySettings) -> int:
    """How many threads a run uses."""
    return settings.threads or usable_cores()


def classify_folder(
    load: Callable[[], Classifier], settings: ClassifySettings, events: Events | None = None
) -> ClassifySummary:
    """Classify all pictures below a folder.

    One bad file never stops the others. A signal stops the run; what is committed stays, and the next run does
    the rest.

    Args:
        load: Loads the model, for as many calls at a time as there are `threads_of`.
        settings: Folders, and what is done with what is there.
        events: Passes the events of the run to its listeners.

    Raises:
        ModelError: the model cannot be loaded.
        ConfigError: the folders cannot be used, or another run is at work in the output folder.
        NoInputError: there is no file, or none that could hold a picture.
    """
    events = events or Events()
    with StopRequest() as stop:
        if not settings.input.exists():
            raise NoInputError(f"{settings.input}: no such file or folder")
        classifier = load()
        told = classifier.model.notes
        for note in told:
            events.emit(Warned(note))
        make_folder(settings.output)
        make_folder(settings.database_path.parent)
        lock = FolderLock(
            settings.database_path.parent, tell=lambda words: events.emit(Warned(words)), check=stop.check
        )
        with lock:
            try:
                database = ResultsDatabase(settings.database_path, verify=lock.verify)
                with closing(database):
                    return _Run(classifier, settings, events, database, stop, told).run()
            except sqlite3.Error as error:
                raise ledger_fault(settings.database_path, error) from error


class _Run:
    def __init__(
        self,
        classifier: Classifier,
        settings: ClassifySettings,
        events: Events,
        database: ResultsDatabase,
        stop: StopRequest,
        told: list[str],
    ) -> None:
        self.told = told
        self.classifier, self.settings, self.events = classifier, settings, events
        self.database, self.stop = database, stop
        self.summary = ClassifySummary()
        self.started = time.monotonic()

    def run(self) -> ClassifySummary:
        """See `classify_folder`."""
        summary, database, settings = self.summary, self.database, self.settings
        self._settle_precision()
        model = database.register_model(self.classifier.model, settings.threshold)
        before = database.last_input()
        if before is not None and before != str(settings.input.absolute()):
            self._warn(
                f"the last run here was over {before}; files are known by their paths below the input, so that "
                "results of other folders are better kept in an output folder of their own"
            )
        database.begin_run(self.events.run, __version__, model, settings.input, settings.about())
        try:
            plan = self._plan(model)
            device = ", ".join(dict.fromkeys(network.device for network in self.classifier.model.networks))
            total = plan.files
            self.events.emit(
                RunStarted(
                    __version__, total, plan.up_to_date, threads_of(settings), device, self.classifier.model.name
                )
            )
            self._work(model, plan)
            for note in self.classifier.model.notes:  # a network may be built while the first pictures are read
                if note not in self.told:
                    self._warn(note)
            database.begin()
            summary.copies, summary.conflicts = settle(database.db)
            database.commit()
            summary.exit_code = self._exit_code(model)
        except LockLostError as error:
            summary.exit_code, summary.problem = error.exit_code, str(error)
            return self._ended()
        except (InterruptedRunError, ItkInferError) as error:
            database.commit()
            summary.exit_code = error.exit_code
            summary.problem = "" if isinstance(error, InterruptedRunError) else str(error)
        summary.seconds = time.monotonic() - self.started
        database.end_run(self.events.run, summary.images, round(summary.seconds, 3), summary.exit_code)
        return self._ended()

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
        self.database.commit()
        return plan

    def _work(self, model: int, plan: ClassifyPlan) -> None:
        threads = threads_of(self.settings)
        on_gpu = any(network.device != "cpu" for network in self.classifier.model.networks)
        batch = self.settings.batch or (ON_GPU if on_gpu else ON_CPU)
        work = Work(self.classifier, self.settings.root, batch, threads)
        try:
            self._feed(work, self._units(model), model, plan.waiting)
        finally:
            work.close()
        self.database.commit()

    def _feed(self, work: Work, units: Iterator[Unit], model: int, total: int) -> None:
        """Hand out units, and record results, until both are at their end."""
        given = taken = 0
        more = True
        while more or taken < given:
            self.stop.check()
            while more and work.backlog < CHUNK:
                unit = next(units, None)
                if unit is None:
                    more = False
                    work.finish()
                else:
                    work.submit(unit)
                    given += len(unit.files)
            try:
                result = work.results.get(timeout=LOOK_S)
            except queue.Empty:
                self.database.commit_if_due()
                continue
            if isinstance(result, BaseException):
                raise result
            taken += 1
            self._take(result, model)
            if self.database.commit_if_due() or taken == given:
                self._tell(taken, max(total, given))

    def _units(self, model: int) -> Iterator[Unit]:
        """The files to read, from the record; with neighbours, all of them first, by their series."""
        if not self.classifier.reach:
            for chunk in self.database.waiting(model, CHUNK):
                yield from (Unit((file,)) for file in chunk)
            return
        found = []
        threads = threads_of(self.settings)
        for again in (False, True):  # then those beside which a picture is new
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
        """Record what became of a file, and emit its event."""
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
        self.events.emit(Progress(self.classifier.model.name, 0, "classify", taken, total, left))

    def _settle_precision(self) -> None:
        """Compare reduced precision with fp32 on the first pictures, before anything is recorded."""
        if all(network.precision == "fp32" for network in self.classifier.model.networks):
            return
        inputs: list[list[Any]] = []
        for path in self._first_files():
            try:
                pictures = open_pictures(path, self.classifier.spec.select)
                pictures.check()
                made = self.classifier.inputs([self.classifier.planes(pictures.picture(0))], 0)
            except (InputError, NotAPicture):
                continue
            if not inputs or [part.shape for part in made] == [part.shape for part in inputs[0]]:
                inputs.append(made)
            if len(inputs) == CHECKED:
                break
        if words := self.classifier.settle_precision(inputs):
            self._warn(words)

    def _first_files(self) -> Iterator[Path]:
        """Files of the input, until enough of them were taken."""
        for folder, files in folders_of(self.settings.input, frozenset()):
            self.stop.check()
            yield from (self.settings.root / folder / file.name for file in files)

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
