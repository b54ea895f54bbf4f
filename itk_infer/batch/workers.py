"""The executor of the command line: spawned worker processes on this machine, watched over.

The model is loaded once in each worker. A worker that dies is replaced; one that works on a case for too long
is killed. Nothing heavy is imported on this side, so that nothing can pull the run down.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any

from itk_infer.batch.messages import Began, Died, Failed, Stopped, Task, Tell, Told
from itk_infer.batch.model import ModelFacts, ModelSource
from itk_infer.batch.placement import Placement
from itk_infer.batch.settings import RunSettings
from itk_infer.batch.system import cause_of_death
from itk_infer.batch.worker import STOP, NotLoaded, Ready, serve
from itk_infer.errors import ModelError

POLL_S = 0.2
STOP_GRACE_S = 3.0  # for the window at work to end; then the worker is killed
MOST_STILLBORN = 3  # workers in a row that die before their model is loaded


@dataclass(slots=True, eq=False)
class _Worker:
    number: int
    process: SpawnProcess
    link: Connection
    ready: bool = False
    task: Task | None = None
    since: float = 0.0

    @property
    def idle(self) -> bool:
        return self.ready and self.task is None


class Workers:
    """See `Executor`.

    Args:
        source: The model.
        settings: Folders and outputs.
        placements: One a worker.
        case_timeout: Seconds a case may take; None: as long as it likes.
    """

    def __init__(
        self,
        source: ModelSource,
        settings: RunSettings,
        placements: Sequence[Placement] = (Placement(),),
        case_timeout: float | None = None,
    ) -> None:
        self.workers = len(placements)
        self._source = source
        self._settings = settings
        self._placements = placements
        self._case_timeout = case_timeout
        self._context = multiprocessing.get_context("spawn")
        self._team: list[_Worker] = []
        self._queue: deque[Task] = deque()
        self._stillborn = 0
        self._facts: ModelFacts | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in list(self._team):
            self._dismiss(worker, idle=worker.idle and kind is None)

    def open(self, check: Callable[[], None]) -> ModelFacts:
        """Start all workers, and return when the first has loaded the model."""
        for number in range(self.workers):
            self._start(number)
        while self._facts is None:
            check()
            self._listen(lambda message: None)
        return self._facts

    def submit(self, task: Task) -> None:
        """Queue a case."""
        self._queue.append(task)

    def step(self, tell: Tell) -> None:
        """Hand out what waits, then listen to the workers for a moment."""
        self._hand_out(tell)
        self._listen(tell)
        self._enforce_timeout(tell)

    def stop(self, tell: Tell) -> None:
        """Workers drop the case at work between two windows; those that do not within a grace are killed."""
        self._queue.clear()
        busy = [worker for worker in self._team if worker.task is not None]
        for worker in busy:
            self._send(worker, STOP)
        deadline = time.monotonic() + STOP_GRACE_S
        while any(worker.task is not None for worker in busy) and time.monotonic() < deadline:
            for worker in self._answering(POLL_S):
                if not self._take(worker, tell):
                    self._drop(worker, tell)
        for worker in busy:
            self._drop(worker, tell)

    def _drop(self, worker: _Worker, tell: Tell) -> None:
        task, worker.task = worker.task, None
        if worker in self._team and (task is not None or not worker.process.is_alive()):
            self._dismiss(worker, idle=False)
        if task is not None:
            tell(Stopped(task.name))

    # --- one worker ---------------------------------------------------------------------------

    def _start(self, number: int) -> None:
        ours, theirs = self._context.Pipe()
        arguments = (theirs, os.getpid(), number, self._source, self._placements[number], self._settings)
        process = self._context.Process(
            target=serve, args=arguments, name=f"itk_infer worker {number}", daemon=True
        )
        process.start()
        theirs.close()  # or its end would never be seen
        self._team.append(_Worker(number, process, ours))

    def _dismiss(self, worker: _Worker, *, idle: bool) -> None:
        """End a worker: the end of its pipe ends an idle one, a signal any other."""
        self._team.remove(worker)
        worker.link.close()
        if idle:
            worker.process.join(1.0)
        worker.process.kill()  # nothing happens to one that has ended
        worker.process.join()
        worker.process.close()

    def _send(self, worker: _Worker, message: Task | str) -> bool:
        try:
            worker.link.send(message)
        except OSError:
            return False  # it has died; `_listen` will find it
        return True

    # --- all workers --------------------------------------------------------------------------

    def _hand_out(self, tell: Tell) -> None:
        for worker in [worker for worker in self._team if worker.idle]:
            if not self._queue:
                return
            if self._send(worker, self._queue[0]):
                worker.task, worker.since = self._queue.popleft(), time.monotonic()
                tell(Began(worker.task.name, worker.number))

    def _answering(self, seconds: float) -> list[_Worker]:
        """Workers that have said something, or have died."""
        heard: Sequence[Any] = wait([worker.link for worker in self._team], seconds)
        return [worker for worker in self._team if worker.link in heard or not worker.process.is_alive()]

    def _listen(self, tell: Tell) -> None:
        for worker in self._answering(POLL_S):
            if not self._take(worker, tell):
                self._replace(worker, tell)

    def _take(self, worker: _Worker, tell: Tell) -> bool:
        """Take all that a worker has sent; false if there will be no more."""
        try:
            while worker.link.poll():
                self._understand(worker, worker.link.recv(), tell)
        except (EOFError, OSError):
            return False
        return worker.process.is_alive() or worker.link.poll()

    def _understand(self, worker: _Worker, message: Any, tell: Tell) -> None:
        if isinstance(message, Ready):
            worker.ready, self._stillborn = True, 0
            self._facts = self._facts or message.facts
        elif isinstance(message, NotLoaded):
            raise message.error
        elif isinstance(message, Told):
            tell(message)
        else:
            worker.task = None
            self._hand_out(tell)  # first: what is told takes time to be written down
            tell(message)

    def _replace(self, worker: _Worker, tell: Tell) -> None:
        task, was_ready = worker.task, worker.ready
        # Its pipe ends a moment before the process; the exit code is worth that moment.
        worker.process.join(1.0)
        reason = cause_of_death(worker.process.exitcode)
        self._dismiss(worker, idle=False)
        if not was_ready:
            self._stillborn += 1
            if self._facts is None or self._stillborn >= MOST_STILLBORN:
                raise ModelError(f"the model cannot be loaded: {reason}")
        self._start(worker.number)
        if task is not None:
            tell(Died(task.name, worker.number, reason))

    def _enforce_timeout(self, tell: Tell) -> None:
        if self._case_timeout is None:
            return
        for worker in list(self._team):
            if worker.task is not None and time.monotonic() - worker.since > self._case_timeout:
                reason = f"took longer than the {self._case_timeout:g} s of --case-timeout; its worker was ended"
                self._dismiss(worker, idle=False)
                self._start(worker.number)
                tell(Failed(worker.task.name, worker.number, reason))
