"""An executor whose model stays loaded from one run to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from itk_infer.executors.executor import Executor
from itk_infer.executors.loader import ModelInfo
from itk_infer.executors.messages import Report, Task


class KeptOpen:
    """An executor that keeps its model loaded when its context is left, until `close`; implements `Executor`.

    Args:
        make: Makes the executor; called again after the executor was ended.
        check: Called often; raises `InterruptedRunError` to stop the run that uses it.
    """

    def __init__(self, make: Callable[[], Executor], check: Callable[[], None]) -> None:
        self._make = make
        self._check = check
        self._executor: Executor | None = None
        self._info: ModelInfo | None = None
        self.workers = 1
        self.case_timeout: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: the model stays loaded."""

    def open(self, check: Callable[[], None]) -> ModelInfo:
        """Load the model if it is not loaded."""

        def both() -> None:
            check()
            self._check()

        if self._executor is None or self._info is None:
            self._executor = self._make()
            self.case_timeout = self._executor.case_timeout
            self._executor.__enter__()
            try:
                self._info = self._executor.open(both)
            except BaseException:
                self.close()
                raise
        return self._info

    def submit(self, task: Task) -> None:
        """See `Executor`."""
        self._opened.submit(task)

    def step(self, report: Report) -> None:
        """See `Executor`."""
        self._check()
        self._opened.step(report)

    def stop(self, report: Report) -> None:
        """End the running cases and the executor, whose state is unknown afterwards."""
        self._opened.stop(report)
        self.close()

    def close(self) -> None:
        """End the executor; the next run makes a new one."""
        executor, self._executor, self._info = self._executor, None, None
        if executor is not None:
            executor.__exit__(None, None, None)

    @property
    def _opened(self) -> Executor:
        if self._executor is None:
            raise RuntimeError("the executor is not open")
        return self._executor
