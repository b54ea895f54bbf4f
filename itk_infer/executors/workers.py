"""The executor of the command line: supervised worker processes on this machine, started by spawning.

Each worker loads the model once. A worker that dies is replaced; one that exceeds the time limit of a case
is killed. This process imports no heavy libraries, so their crashes cannot end the run.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any

from itk_infer.case.case import Case
from itk_infer.errors import ModelError
from itk_infer.executors.child import Child
from itk_infer.executors.gpus import Placement
from itk_infer.executors.in_flight import Job, Jobs
from itk_infer.executors.messages import (
    STOP,
    AnyTask,
    Assignment,
    CaseBegun,
    Computed,
    Drop,
    LoadFailed,
    Ready,
    Report,
    Reported,
    Stopped,
    Task,
    TimedOut,
    WorkerDied,
)
from itk_infer.executors.runner import Opener, open_cases
from itk_infer.executors.worker import serve
from itk_infer.system import cause_of_death

POLL_S = 0.2
STOP_GRACE_S = 3.0  # seconds for the current window to end; then the worker is killed
MAX_FAILED_STARTS = 3  # consecutive workers that die before their model is loaded


@dataclass(slots=True, eq=False)
class _Worker:
    number: int
    process: Child
    ready: bool = False
    overlaps: bool = False
    jobs: Jobs = field(default_factory=Jobs)
    ahead: str = ""  # name of the case that the worker reads ahead

    @property
    def idle(self) -> bool:
        return self.ready and not self.jobs.all


class Workers:
    """Runs tasks in worker processes of this machine; implements `Executor`.

    Args:
        source: The model: a `ModelLoader`, or another argument of `opener`.
        placements: Device and threads of each worker.
        case_timeout: Time limit per case in seconds; None: no limit.
        opener: Loads the model in a worker, and determines the kind of tasks.
    """

    def __init__(
        self,
        source: Any,
        placements: Sequence[Placement] = (Placement(),),
        case_timeout: float | None = None,
        opener: Opener = open_cases,
    ) -> None:
        self.workers = len(placements)
        self._opener, self._source = opener, source
        self._placements = placements
        self.case_timeout = case_timeout
        self._team: list[_Worker] = []
        self._queue: deque[AnyTask] = deque()
        self._probable: Case | None = None
        self._failed_starts = 0
        self._facts: Any = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in list(self._team):
            self._dismiss(worker, idle=worker.idle and kind is None)

    def open(self, check: Callable[[], None]) -> Any:
        """Start all workers, and return when the first one has loaded the model."""
        for number in range(self.workers):
            self._start(number)
        while self._facts is None:
            check()
            self._listen(lambda message: None)
        return self._facts

    def submit(self, task: AnyTask, ahead: Case | None = None) -> None:
        """Queue a case.

        Args:
            task: The case, and what to write.
            ahead: A case that is probably submitted next, to be read meanwhile if no case is queued.
        """
        self._queue.append(task)
        self._probable = ahead

    def step(self, report: Report) -> None:
        """Hand out queued tasks, then wait briefly for messages."""
        self._hand_out(report)
        self._listen(report)
        self._enforce_timeout(report)

    def cancel(self, name: str, report: Report) -> None:
        """Drop one case, which is reported as `Stopped`: a queued one now, a running one at its next window.

        A case whose network is finished is reported as it ends. Unknown names are ignored.
        """
        for task in [task for task in self._queue if task.name == name]:
            self._queue.remove(task)
            report(Stopped(name))
        for worker in self._team:
            if any(job.name == name for job in worker.jobs.all):
                self._send(worker, Drop(name))

    def stop(self, report: Report) -> None:
        """Workers drop the running case at its next window, and finish the one that they are writing.

        Those that do not within `STOP_GRACE_S` are killed.
        """
        self._queue.clear()
        busy = [worker for worker in self._team if worker.jobs.all]
        for worker in busy:
            self._send(worker, STOP)
        deadline = time.monotonic() + STOP_GRACE_S
        while any(worker.jobs.all for worker in busy) and time.monotonic() < deadline:
            for worker in self._with_news(POLL_S):
                if not self._take(worker, report):
                    self._drop(worker, report)
        for worker in busy:
            self._drop(worker, report)

    def _drop(self, worker: _Worker, report: Report) -> None:
        jobs = worker.jobs.clear()
        if worker in self._team and (jobs or not worker.process.running):
            self._dismiss(worker, idle=False)
        for job in jobs:
            report(Stopped(job.name))

    # --- one worker ---------------------------------------------------------------------------

    def _start(self, number: int) -> None:
        process = Child(serve, os.getpid(), number, self._opener, self._source, self._placements[number])
        self._team.append(_Worker(number, process))

    def _dismiss(self, worker: _Worker, *, idle: bool) -> None:
        """End a worker: closing its pipe ends an idle one, a signal any other."""
        self._team.remove(worker)
        worker.process.link.close()
        if idle:
            worker.process.wait(1.0)
        worker.process.end()

    def _send(self, worker: _Worker, message: Assignment | Drop | str) -> bool:
        try:
            worker.process.link.send(message)
        except OSError:
            return False  # it has ended, which `_listen` detects
        return True

    # --- all workers --------------------------------------------------------------------------

    def _hand_out(self, report: Report) -> None:
        given = []
        for worker in [worker for worker in self._team if worker.ready and worker.jobs.room]:
            task = self._next_for(worker)
            if task is not None:
                self._queue.remove(task)
                worker.jobs.computing = Job(task)
                given.append((worker, worker.jobs.computing))
        for worker, job in given:  # an idle worker also takes a case that another one reads ahead
            ahead = self._ahead_of(worker, job)
            if self._send(worker, Assignment(job.task, ahead)):
                worker.ahead = ahead.name if ahead else ""
                job.start()
                report(CaseBegun(job.name, worker.number))
            else:
                worker.jobs.end(job.name)
                self._queue.appendleft(job.task)

    def _next_for(self, worker: _Worker) -> AnyTask | None:
        """The first task that no other worker reads ahead (this worker may); if there is none, the first task."""
        # A second attempt runs alone in its worker, so that a death of the worker is attributed to the right case.
        taken, first = self._read_ahead_by_others(worker), None
        for task in self._queue:
            if worker.idle or not task.safer:
                if task.name not in taken:
                    return task
                first = first or task
        return first

    def _ahead_of(self, worker: _Worker, job: Job) -> Case | None:
        """The case to read ahead while the worker computes this one."""
        if not worker.overlaps or job.task.safer:
            return None
        taken = self._read_ahead_by_others(worker)
        queued = (
            task.case
            for task in self._queue
            if isinstance(task, Task) and not task.safer and task.name not in taken
        )
        return next(queued, self._probable)

    def _read_ahead_by_others(self, worker: _Worker) -> set[str]:
        return {other.ahead for other in self._team if other is not worker}

    def _with_news(self, seconds: float) -> list[_Worker]:
        """Workers that have sent a message or have ended."""
        heard: Sequence[Any] = wait([worker.process.link for worker in self._team], seconds)
        return [worker for worker in self._team if worker.process.link in heard or not worker.process.running]

    def _listen(self, report: Report) -> None:
        for worker in self._with_news(POLL_S):
            if not self._take(worker, report):
                self._replace(worker, report)

    def _take(self, worker: _Worker, report: Report) -> bool:
        """Process all messages of a worker; return False if there will be no more."""
        try:
            while worker.process.link.poll():
                self._understand(worker, worker.process.link.recv(), report)
        except (EOFError, OSError):
            return False
        return worker.process.running or worker.process.link.poll()

    def _understand(self, worker: _Worker, message: Any, report: Report) -> None:
        if isinstance(message, Ready):
            worker.ready, worker.overlaps, self._failed_starts = True, message.overlaps, 0
            self._facts = self._facts or message.facts
        elif isinstance(message, LoadFailed):
            raise message.error
        elif isinstance(message, Reported):
            report(message)
        elif isinstance(message, Computed):
            worker.jobs.computed()
            self._hand_out(report)
        else:
            worker.jobs.end(message.name)
            self._hand_out(report)  # before the outcome is recorded, which takes time
            report(message)

    def _replace(self, worker: _Worker, report: Report) -> None:
        jobs, was_ready = worker.jobs.all, worker.ready
        # The pipe closes slightly before the process ends, and the reason needs its exit code.
        worker.process.wait(1.0)
        reason = cause_of_death(worker.process.exit_code)
        self._dismiss(worker, idle=False)
        if not was_ready:
            self._failed_starts += 1
            if self._facts is None or self._failed_starts >= MAX_FAILED_STARTS:
                raise ModelError(f"the model cannot be loaded: {reason}")
        self._start(worker.number)
        for job in jobs:
            report(WorkerDied(job.name, worker.number, reason))

    def _enforce_timeout(self, report: Report) -> None:
        if self.case_timeout is None:
            return
        for worker in list(self._team):
            late = next((job for job in worker.jobs.all if job.seconds > self.case_timeout), None)
            if late is None:
                continue
            self._dismiss(worker, idle=False)
            self._start(worker.number)
            limit = f"the {self.case_timeout:g} s of `case_timeout`; its worker was ended"
            for job in worker.jobs.all:
                if job is late:
                    report(TimedOut(job.name, worker.number, f"took longer than {limit}"))
                else:
                    report(
                        WorkerDied(
                            job.name, worker.number, f"{late.name}, in the same worker, took longer than {limit}"
                        )
                    )
