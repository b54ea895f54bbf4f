"""A node: studies arrive from a source, each becomes a job, and its results are sent to destinations.

Nothing is lost by a kill: every step is on disk before the next one, and can be repeated. `Studies` records which
studies have grown, `JobQueue` which are to be computed, the ledger of each job what is computed, and `Outbox` what
is to be sent. Only one process uses a home.
"""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Self

from itk_infer.errors import ConfigError, InterruptedRunError, ItkInferError, ModelError
from itk_infer.executors.executor import Executor
from itk_infer.files.commit import remove
from itk_infer.files.folders import make_folder
from itk_infer.run.lock import FolderLock
from itk_infer.service.job import Job, JobRequest
from itk_infer.service.jobs import JobQueue
from itk_infer.service.pacs.delivery import Destination, Unavailable
from itk_infer.service.pacs.destinations import destination
from itk_infer.service.pacs.kept_open import KeptOpen
from itk_infer.service.pacs.node_settings import NodeSettings
from itk_infer.service.pacs.orthanc import Orthanc
from itk_infer.service.pacs.outbox import DEAD, Outbox
from itk_infer.service.pacs.pull import OrthancSource
from itk_infer.service.pacs.receiver import Receiver
from itk_infer.service.pacs.room import DISK_FAULTS, Room, in_a_sentence, is_full, says_full
from itk_infer.service.pacs.sender import send_due
from itk_infer.service.pacs.source import Source, key_of
from itk_infer.service.pacs.spool import Spool
from itk_infer.service.pacs.studies import Studies, Study
from itk_infer.service.pacs.study_run import Gone, StudyRun, Superseded, Unfinished
from itk_infer.service.pacs.study_summary import StudySummaries
from itk_infer.service.pacs.troubles import Troubles
from itk_infer.service.refusal import Refusal

JOBS, RECEIVED = "jobs", "received"
MODEL = "node"  # name of the only model in the queue
MOST_JOBS = 100_000  # most waiting jobs
IDLE_S, SWEEP_S, STOP_S = 0.5, 60.0, 30.0


class Node:
    """A node. Use it as a context manager; then call `run_once`, or `start` and wait for `stopping`.

    Args:
        settings: Settings of the node.
        tell: Called with sentences for the administrator, without patient data.

    Attributes:
        stopping: Set to end the node.
        problem: The error that ended the node; None if there was none.

    Raises:
        ConfigError: on entering: the home cannot be used, or another node uses it.
    """

    def __init__(self, settings: NodeSettings, tell: Callable[[str], None]) -> None:
        self.settings = settings
        self.tell = tell
        self.stopping = threading.Event()
        self.problem: BaseException | None = None
        self.receiver: Receiver | None = None
        self._home = settings.home.absolute()
        self._troubles = Troubles(tell)
        self._room = Room(self._home, settings.min_free, self._troubles)
        self._wake = threading.Event()
        self._threads: list[threading.Thread] = []
        self._stack = ExitStack()
        self._failed = 0

    def __enter__(self) -> Self:
        settings, enter = self.settings, self._stack.enter_context
        make_folder(self._home)
        if (self._home / "itk_infer.db").exists():
            raise ConfigError(f"{self._home}: holds the results of a run; give the node a folder of its own")
        try:
            self._lock = enter(FolderLock(self._home, tell=self.tell))
            make_folder(self._home / JOBS)
            self.queue = JobQueue(self._home, MOST_JOBS)
            self._stack.callback(self.queue.close)
            self.studies = Studies(self._home)
            self._stack.callback(self.studies.close)
            self.outbox = Outbox(self._home, settings.patience)
            self._stack.callback(self.outbox.close)
            self._summaries = StudySummaries(self._home / JOBS, self.outbox)
            self._destinations = self._open_destinations()
            self._source = self._open_source()
            self._recover()
        except BaseException as error:
            self._stack.close()
            if is_full(error):
                raise in_a_sentence(error, self._home) from None
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._wake.set()
        for thread in self._threads:
            thread.join(STOP_S)
        self._stack.close()

    def _open_destinations(self) -> list[Destination]:
        """The destinations of the settings, and those of letters that still wait from an earlier start."""
        named = [destination(text, self.settings.access) for text in self.settings.send]
        names = {there.name for there in named}
        waiting = {letter.target for letter in self.outbox.letters("waiting")} - names
        return [*named, *(destination(text, self.settings.access) for text in sorted(waiting))]

    def _open_source(self) -> Source:
        settings = self.settings
        if settings.orthanc is not None:
            orthanc = Orthanc(settings.orthanc, settings.access)
            return OrthancSource(orthanc, self.studies, only_new=settings.only_new, check=self._check)
        return Spool(self._home / RECEIVED, self.studies)

    def _recover(self) -> None:
        """Remove or complete files that a killed node left behind."""
        for job in self.queue.recover():
            self.tell(f"{job.request.name}: FAILED, {self.queue.get(job.id).reason}")
        self.outbox.retry()
        self._summaries.refresh()
        if self.settings.retry_failed:
            for job in self.queue.latest("failed", MOST_JOBS):
                if self.queue.delete(job.id):
                    remove(self._folder_of(job))
                    self.studies.grew([job.request.name])
        known = self.queue.ids()
        for folder in (self._home / JOBS).iterdir():
            if folder.name not in known:
                remove(folder)

    # --- running ------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the threads."""
        settings = self.settings
        if isinstance(self._source, Spool) and settings.listen is not None:
            # While no node ran, nothing could arrive: the quiet time of incomplete studies starts again.
            self.studies.grew([study.id for study in self.studies.unsettled()])
            self.receiver = self._stack.enter_context(
                Receiver(
                    settings.listen,
                    self._source,
                    settings.access,
                    settings.allowed,
                    min_free=settings.min_free,
                    folder=self._home,
                    tell=self.tell,
                )
            )
        self._thread("source", partial(self._often, settings.poll, self.look))
        for there in self._destinations:
            self._thread(f"to {there.name}", partial(self._often, IDLE_S, partial(self.send, there)))
        for number, make in enumerate(settings.executors):
            self._thread(f"place {number}", partial(self._compute_often, make))
        self._thread("sweeper", partial(self._often, SWEEP_S, self.sweep))

    def work_once(self) -> None:
        """Run `run_once` in a thread; errors are stored in `problem`."""
        try:
            self.run_once()
        except InterruptedRunError:
            pass
        except BaseException as error:
            self._broken(error)

    @property
    def exit_code(self) -> int:
        """Exit code after `run_once`: 3 if something failed, or is still to be computed or sent; otherwise 0."""
        return 3 if self._failed or self.queue.counts()["waiting"] or self._troubles or self._is_unsent() else 0

    def _is_unsent(self) -> bool:
        return bool(self.outbox.letters("waiting", "rejected", "dead"))

    def run_once(self) -> None:
        """Take the studies that are complete now, compute them, and try once to send the results."""
        self.look()
        if growing := len(self.studies.unsettled()):
            self.tell(f"studies that are not complete yet, and are left to the next start: {growing}")
        executor = KeptOpen(self.settings.executors[0], self._check)
        try:
            while (job := self.queue.take()) is not None and self._run(job, executor):
                pass
        finally:
            executor.close()
        for there in self._destinations:
            self.send(there)
        self.sweep()

    def look(self) -> None:
        """Look for new images, and make jobs for complete studies."""
        try:
            self._source.look()
            for study in self.studies.unsettled():
                self._check()
                if not 0 <= time.time() - study.changed < self.settings.quiet:  # < 0: the clock was set back
                    self._take(study)
            self.studies.note(looked=str(time.time()), source_problem="")
            self._troubles.well("the source of studies")
        except Unavailable as fault:
            self.studies.note(source_problem=str(fault))
            self._troubles.ill("the source of studies", str(fault))
        except Refusal as refusal:
            self._troubles.ill("the queue", str(refusal))

    def _take(self, study: Study) -> None:
        """Make a job for a complete study, unless it has been computed with the same instances."""
        found = self._source.instances(study.id)
        if found is None:
            return
        uids = set(found) - self.outbox.uids()
        if not uids:
            self.studies.settle(study)
            return
        key = key_of(uids)
        known = self.queue.ids()
        former = [self.queue.get(job) for job in self.studies.jobs_of(study.id) if job in known]
        request = JobRequest(MODEL, (), digest=key, name=study.id, key=f"{study.id} {key}")
        job, is_new = self.queue.add(request)
        if job.state == "cancelled" and self.queue.delete(job.id):  # the study is again as it was for that job
            remove(self._folder_of(job))
            job, is_new = self.queue.add(request)
        self.studies.settle(study, job.id)
        if not is_new:
            return
        for earlier in former:
            self.queue.cancel(earlier.id)  # has an effect only if it still waits
        done = sum(earlier.state == "done" and "skipped" not in earlier.results for earlier in former)
        again = f"; it grew, and earlier results of it are superseded ({done})" if done else ""
        self.tell(f"{study.id}: complete with {len(uids)} images{again}")
        self._wake.set()

    def _compute_often(self, make: Callable[[], Executor]) -> None:
        executor = KeptOpen(make, self._check)
        try:
            executor.open(lambda: None)  # errors of loading the model appear at the start
            while not self.stopping.is_set():
                self._wake.clear()
                if not self._room.unless_full(partial(self._compute_next, executor)):
                    self.stopping.wait(self.settings.poll)
        except InterruptedRunError:
            pass
        except BaseException as error:
            self._broken(error)
        finally:
            executor.close()

    def _compute_next(self, executor: KeptOpen) -> None:
        job = self.queue.take() if self._room.is_there() else None
        if job is None:
            self._wake.wait(IDLE_S)
        elif not self._run(job, executor):
            self.stopping.wait(self.settings.poll)

    def _run(self, job: Job, executor: KeptOpen) -> bool:
        """Run one job to its end; return False if it was put back into the queue."""
        name, folder = job.request.name, self._folder_of(job)
        work = StudyRun(self.settings, self._source, self.outbox, folder, job, self.tell)
        started = time.monotonic()
        try:
            work.fetch(self.outbox.uids())
            done, reason, results = work.compute(executor)
        except Superseded:
            self._surely(lambda: self.queue.cancel(job.id, running=True))
            self._surely(lambda: self.studies.grew([name]))
            remove(folder)
            self.tell(f"{name}: changed while it waited; it is looked at again")
            return True
        except Gone:
            done, reason, results = False, "lost: the study was deleted before it could be fetched", {}
        except Unfinished:
            return self._put_back(job)
        except Unavailable as fault:
            self._troubles.ill("the source of studies", str(fault))
            return self._put_back(job)
        except DISK_FAULTS as error:
            if is_full(error):
                self._room.was_full()
            elif isinstance(error, sqlite3.Error):
                raise
            else:
                self._troubles.ill("the home", f"cannot be written ({error.strerror})")
            return self._put_back(job)
        except InterruptedRunError:
            self._room.unless_full(lambda: self.queue.put_back(job.id))  # the next start does it, too
            raise
        except ModelError:
            raise
        except ItkInferError as error:
            done, reason, results = False, str(error), {}
        if says_full(reason):
            self._room.was_full()
        if not done and not self._room.is_there():  # a full disk may be the reason
            return self._put_back(job)
        work.drop_input()
        skipped = results.get("skipped", "")
        self._summaries.ended(job.id, name, "skipped" if done else "failed", skipped or reason)
        if done:
            self._surely(lambda: self.queue.finish(job.id, {}, results))
            end = f"done in {time.monotonic() - started:.1f} s"
            self.tell(f"{name}: {f'skipped, {skipped}' if skipped else end}")
        else:
            self._surely(lambda: self.queue.fail(job.id, reason))
            self.tell(f"{name}: FAILED, {reason}")
            self._failed += 1
        return True

    def _put_back(self, job: Job) -> bool:
        self._surely(lambda: self.queue.put_back(job.id))
        return False

    def send(self, there: Destination) -> None:
        """Try to send the objects that are due to a destination."""
        tried = send_due(self.outbox, there, self._check)
        self._summaries.sent(tried)
        for path, delivery in tried.items():
            if delivery.state in DEAD:
                self.tell(
                    f"{path}: {delivery.state.upper()}, {there.name}: {delivery.reason}; it stays in the outbox"
                )
            elif delivery.state == "waiting":
                self._troubles.ill(there.name, delivery.reason)
            else:
                self._troubles.well(there.name)

    def sweep(self) -> None:
        """Delete folders of jobs that ended long ago and are sent, and old received studies."""
        self._lock.raise_if_lost()
        kept = {Path(letter.path).parts[1] for letter in self.outbox.letters("waiting", "rejected", "dead")}
        oldest = time.time() - self.settings.keep_s
        known = set(self.queue.ids())
        for folder in (self._home / JOBS).iterdir():
            job = self.queue.get(folder.name) if folder.name in known else None
            if job is not None and job.ended is not None and job.ended < oldest and job.id not in kept:
                remove(folder)
        at_work = (*self.queue.latest("waiting", MOST_JOBS), *self.queue.latest("running", MOST_JOBS))
        open_studies = {job.request.name for job in at_work}
        for study, changed in self.studies.settled().items():
            if changed < oldest and study not in open_studies:
                self._source.finished(study)

    # --- states -------------------------------------------------------------------------------

    def _folder_of(self, job: Job) -> Path:
        return self._home / JOBS / job.id

    def _surely(self, step: Callable[[], object]) -> None:
        """Take a step as soon as the disk has room for it, so that no job stays recorded as running."""
        if not self._threads:
            step()
            return
        while not self._room.unless_full(step):
            self._check()
            self.stopping.wait(self.settings.poll)

    def _check(self) -> None:
        if self.stopping.is_set():
            raise InterruptedRunError(signal.SIGTERM)

    def _often(self, seconds: float, step: Callable[[], None]) -> None:
        try:
            while not self.stopping.is_set():
                self._room.unless_full(step)
                self.stopping.wait(seconds)
        except InterruptedRunError:
            pass
        except BaseException as error:
            self._broken(error)

    def _thread(self, name: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _broken(self, error: BaseException) -> None:
        """End the node because of an internal error."""
        error = in_a_sentence(error, self._home)
        self.problem = self.problem or error
        if not isinstance(error, ItkInferError):
            self.tell(f"a thread of the node ended: {type(error).__name__}")
        self.stopping.set()
