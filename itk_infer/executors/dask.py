"""The executor for several machines: workers of a Dask cluster, each given one case at a time.

A case is pinned to its worker, so Dask does not run it again by itself: the run decides on
second attempts. A worker that is missing from the cluster's list is treated as dead.
"""

from __future__ import annotations

import pickle
import queue
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from itk_infer._version import __version__
from itk_infer.errors import ItkInferError, ModelError
from itk_infer.executors import dask_worker as remote
from itk_infer.executors.dask_cluster import Cluster
from itk_infer.executors.messages import AnyTask, CaseBegun, Report, Reported, Stopped, TimedOut, WorkerDied
from itk_infer.executors.runner import Opener, open_cases

POLL_S = 0.2
CENSUS_S = 1.0  # seconds between two listings of the cluster's workers
STOP_GRACE_S = 3.0
LOST = "the cluster lost its worker"


@dataclass(slots=True)
class _Work:
    task: AnyTask
    address: str
    future: Any
    since: float
    began: bool = False


class DaskCluster:
    """Runs tasks on workers of a Dask cluster; implements `Executor`.

    Args:
        source: The model, a `ModelLoader` or another argument of `opener`; its paths must be valid on every node.
        cluster: The cluster.
        threads: CPU threads of the network; None: all cores of the worker.
        case_timeout: Time limit per case in seconds; None: no limit.
        opener: Loads the model in a worker, and determines the kind of tasks.
    """

    def __init__(
        self,
        source: Any,
        cluster: Cluster,
        threads: int | None = None,
        case_timeout: float | None = None,
        opener: Opener = open_cases,
    ) -> None:
        self.workers = cluster.workers or 0  # 0 until the number is known
        self._cluster = cluster
        self._model = (opener, source, threads, cluster.gpus)
        self.case_timeout = case_timeout
        self._topic = f"itk_infer-{uuid.uuid4().hex[:12]}"
        self._client: Any = None
        self._queue: deque[AnyTask] = deque()
        self._work: dict[str, _Work] = {}
        self._numbers: dict[str, int] = {}  # number of each worker, by address
        self._present: set[str] = set()
        self._next_census = 0.0
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __enter__(self) -> DaskCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.cancel([work.future for work in self._work.values()], force=True)
            self._cluster.disconnect(self._client)

    def open(self, check: Callable[[], None]) -> Any:
        """Connect, wait for the first worker, and let it load the model."""
        self._client = self._cluster.connect()
        self._client.subscribe_topic(self._topic, lambda event: self._inbox.put(event[1]))
        while not self._present:
            check()
            self._count_workers()
            time.sleep(0 if self._present else POLL_S)
        future = self._client.submit(remote.facts, *self._model, pure=False, retries=0)
        while not future.done():
            check()
            time.sleep(POLL_S / 4)
        try:
            facts = future.result()
        except Exception as error:  # installations on the nodes may raise any error
            raise ModelError(
                f"the cluster's workers cannot load the model ({type(error).__name__}: {error}); is the same "
                "itk_infer installed there?"
            ) from error
        if isinstance(facts, ItkInferError):
            raise facts
        if facts.about["itk_infer"] != __version__:
            raise ModelError(f"the cluster has itk_infer {facts.about['itk_infer']}, here is {__version__}")
        return facts

    def submit(self, task: AnyTask) -> None:
        """Queue a case; its paths must be valid on every node."""
        self._queue.append(task.absolute())

    def step(self, report: Report) -> None:
        """Hand out queued tasks, wait briefly for messages, and list the workers at intervals."""
        self._hand_out()
        self._listen(report, POLL_S)
        if time.monotonic() >= self._next_census:
            self._count_workers()
            for work in list(self._work.values()):
                if work.address not in self._present and not work.future.done():
                    self._lose(work, report)
        self._enforce_timeout(report)

    def stop(self, report: Report) -> None:
        """Workers drop their cases between two windows; those that do not within `STOP_GRACE_S` are restarted."""
        self._queue.clear()
        if not self._work:
            return
        busy = [work.address for work in self._work.values()]
        self._client.run(remote.request_stop, self._topic, workers=busy, on_error="ignore")
        deadline = time.monotonic() + STOP_GRACE_S
        while self._work and time.monotonic() < deadline:
            self._listen(report, POLL_S)
        for work in list(self._work.values()):
            self._end(work, wait=False)
            report(Stopped(work.task.name))

    # ------------------------------------------------------------------------------------------

    def _count_workers(self) -> None:
        self._present = set(self._client.nthreads())
        self.workers = max(self.workers, len(self._present))
        self._next_census = time.monotonic() + CENSUS_S
        for address in sorted(self._present - set(self._numbers)):
            self._numbers[address] = len(self._numbers)

    def _hand_out(self) -> None:
        idle = self._present - {work.address for work in self._work.values()}
        for address in sorted(idle, key=self._numbers.__getitem__):
            if not self._queue:
                return
            task = self._queue.popleft()
            number = self._numbers[address]
            future = self._client.submit(
                remote.compute,
                *self._model,
                task,
                number,
                self._topic,
                workers=[address],
                allow_other_workers=False,
                pure=False,
                retries=0,
                key=f"itk_infer-{uuid.uuid4().hex}",
            )
            self._work[task.name] = _Work(task, address, future, time.monotonic())
            future.add_done_callback(self._inbox.put)

    def _listen(self, report: Report, seconds: float) -> None:
        try:
            heard = self._inbox.get(timeout=seconds)
        except queue.Empty:
            return
        while True:
            self._understand(heard, report)
            try:
                heard = self._inbox.get_nowait()
            except queue.Empty:
                return

    def _understand(self, heard: Any, report: Report) -> None:
        if isinstance(heard, bytes):
            message = pickle.loads(heard)
            name = message.name if isinstance(message, CaseBegun) else getattr(message.event, "case", None)
            if isinstance(message, Reported):
                if name is None or name in self._work:
                    report(message)
            elif name in self._work:
                self._begin(self._work[name], report)
            return
        work = next((work for work in self._work.values() if work.future is heard), None)
        if work is None:
            return  # the case has ended already
        if heard.status != "finished":
            self._lose(work, report)
            return
        outcome = heard.result()
        if isinstance(outcome, ItkInferError):
            raise outcome
        self._begin(work, report)
        del self._work[work.task.name]
        self._hand_out()
        report(outcome)

    def _begin(self, work: _Work, report: Report) -> None:
        if not work.began:
            work.began, work.since = True, time.monotonic()
            report(CaseBegun(work.task.name, self._numbers[work.address]))

    def _lose(self, work: _Work, report: Report) -> None:
        self._begin(work, report)
        self._present.discard(work.address)
        work.future.cancel(force=True)
        del self._work[work.task.name]
        report(WorkerDied(work.task.name, self._numbers[work.address], LOST))

    def _end(self, work: _Work, *, wait: bool) -> None:
        """End the worker process that runs the work, because a single thread of it cannot be ended."""
        self._present.discard(work.address)
        work.future.cancel(force=True)
        del self._work[work.task.name]
        try:
            self._client.restart_workers([work.address], timeout=30 if wait else 2, raise_for_error=False)
        except Exception:  # a worker without a nanny cannot be restarted, only retired
            self._client.retire_workers([work.address], close_workers=True)

    def _enforce_timeout(self, report: Report) -> None:
        for work in list(self._work.values()):
            spent = time.monotonic() - work.since
            if self.case_timeout is not None and work.began and spent > self.case_timeout:
                self._end(work, wait=True)
                reason = f"took longer than the {self.case_timeout:g} s of `case_timeout`; its worker was ended"
                report(TimedOut(work.task.name, self._numbers[work.address], reason))
