"""The interface between a run and the execution of its cases: this process, worker processes or a cluster.

The run plans, keeps the ledger, decides on second attempts and emits the events. An executor only
computes. All of them pass `itk_infer.testing.ExecutorTests`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

from itk_infer.executors.messages import Report


class Executor(Protocol):
    """Computes cases. Entered once, opened once; leaving it ends the processes that it started.

    Attributes:
        workers: Cases that can be at work at the same time.
    """

    workers: int

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def open(self, check: Callable[[], None]) -> Any:
        """Load the model, and return what is known of it: of one for cases a `ModelInfo`.

        Args:
            check: Called often, here and later; raises `InterruptedRunError` once the user has asked to stop.

        Raises:
            ItkInferError: the model cannot be loaded.
        """
        ...

    def submit(self, task: Any) -> None:
        """Queue a case, as `Task`, or another `AnyTask`; those submitted first begin first."""
        ...

    def step(self, report: Report) -> None:
        """Wait a moment for something to happen, and report it.

        For every task: one `CaseBegun`, then one `Finished`, `Returned`, `Failed`, `WorkerDied` or `Stopped`.

        Raises:
            ModelError: the model, loaded before, cannot be loaded any more.
        """
        ...

    def stop(self, report: Report) -> None:
        """End the running cases within seconds, and report each as `Stopped`. Queued cases are dropped."""
        ...
