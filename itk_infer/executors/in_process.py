"""The executor of the Python API: runs cases one after the other in this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType

from itk_infer.executors.case_files import run_case
from itk_infer.executors.loader import ModelInfo, model_info
from itk_infer.executors.messages import CaseBegun, Report, Reported, Task
from itk_infer.predictor import Predictor


class InProcess:
    """Runs cases in this process; implements `Executor`.

    Args:
        predictor: The loaded model.
    """

    workers = 1
    case_timeout: float | None = None

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._queue: deque[Task] = deque()
        self._check: Callable[[], None] = lambda: None

    def __enter__(self) -> InProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def open(self, check: Callable[[], None]) -> ModelInfo:
        """Return the description of the model, which the caller has loaded."""
        self._check = check
        return model_info(self._predictor)

    def submit(self, task: Task) -> None:
        """Queue a case."""
        self._queue.append(task)

    def step(self, report: Report) -> None:
        """Run the next case to its end."""
        task = self._queue.popleft()
        report(CaseBegun(task.name, 0))
        report(run_case(self._predictor, task, 0, lambda event: report(Reported(event)), self._check))

    def stop(self, report: Report) -> None:
        """Drop queued cases; none is running between two steps."""
        self._queue.clear()
