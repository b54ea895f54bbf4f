"""The executor of the Python API: one case after the other in this very process, which starts no other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType

from itk_infer.batch.case_run import run_case
from itk_infer.batch.messages import Began, Task, Tell, Told
from itk_infer.batch.model import ModelFacts, facts_of
from itk_infer.batch.settings import RunSettings
from itk_infer.predictor import Predictor


class InProcess:
    """See `Executor`.

    Args:
        predictor: The loaded model.
        settings: Folders and outputs.
    """

    workers = 1

    def __init__(self, predictor: Predictor, settings: RunSettings) -> None:
        self._predictor = predictor
        self._settings = settings
        self._queue: deque[Task] = deque()
        self._check: Callable[[], None] = lambda: None

    def __enter__(self) -> InProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def open(self, check: Callable[[], None]) -> ModelFacts:
        """The model was loaded by the caller."""
        self._check = check
        return facts_of(self._predictor)

    def submit(self, task: Task) -> None:
        """Queue a case."""
        self._queue.append(task)

    def step(self, tell: Tell) -> None:
        """Run the next case, from beginning to end."""
        task = self._queue.popleft()
        tell(Began(task.name, 0))
        tell(run_case(self._predictor, self._settings, task, 0, lambda event: tell(Told(event)), self._check))

    def stop(self, tell: Tell) -> None:
        """Nothing is at work between two steps."""
        self._queue.clear()
