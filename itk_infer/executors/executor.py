"""The interface between a run and the execution of its cases: this process, worker processes or a cluster.

The run plans, keeps the ledger, decides on second attempts and emits events; an executor only
computes. Every executor passes `itk_infer.testing.ExecutorTests`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

from itk_infer.executors.messages import Report


class Executor(Protocol):
    """Computes cases. Entered and opened once; leaving the context ends the processes that it started.

    Attributes:
        workers: Number of cases that can run at the same time.
        case_timeout: Time limit per task in seconds; None: no limit.
    """

    workers: int
    case_timeout: float | None

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def open(self, check: Callable[[], None]) -> Any:
        """Load the model and return its description, a `ModelInfo` if it computes cases.

        Args:
            check: Called often, here and later; raises `InterruptedRunError` after the user has asked to stop.

        Raises:
            ItkInferError: the model cannot be loaded.
        """
        ...

    def submit(self, task: Any) -> None:
        """Queue a `Task` or another `AnyTask`; tasks begin in the order of submission."""
        ...

    def step(self, report: Report) -> None:
        """Wait briefly for messages, and report them.

        For each task: one `CaseBegun`, then one `Finished`, `Returned`, `Failed`, `WorkerDied` or `Stopped`.

        Raises:
            ModelError: the model could be loaded before, and cannot any more.
        """
        ...

    def stop(self, report: Report) -> None:
        """End running cases within seconds, and report each as `Stopped`. Queued tasks are dropped."""
        ...
