"""The interface between executors' processes and what they compute: cases, or parts of an archive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from itk_infer.case.case import Case
from itk_infer.events import CaseStarted, Progress, Warned
from itk_infer.executors.loader import ModelLoader
from itk_infer.executors.messages import Outcome

Show = Callable[[CaseStarted | Progress | Warned], None]


class Overlapping(Protocol):
    """Computes tasks while the next one is read and the previous one is written; see `Overlap`."""

    def run(self, task: Any, ahead: Case | None) -> None:
        """Compute a task, and meanwhile read a case that probably comes next."""
        ...

    def close(self) -> None:
        """Wait for reading and writing to finish."""
        ...


class Runner(Protocol):
    """A loaded model that computes tasks, one after the other."""

    @property
    def facts(self) -> Any:
        """Description of the model for the run; its `about` is JSON-ready and has the version as ``itk_infer``."""
        ...

    def run(self, task: Any, worker: int, show: Show, check: Callable[[], None]) -> Outcome:
        """Compute one task. Never raises an `Exception`.

        Args:
            task: The task.
            worker: Number of the worker, for events.
            show: Called with the events of the task.
            check: Called often; raises `InterruptedRunError` to stop.
        """
        ...

    def overlapping(
        self, worker: int, send: Callable[[Any], None], show: Show, check: Callable[[], None]
    ) -> Overlapping | None:
        """An object that replaces `run` in a worker process; None if tasks do not overlap."""
        ...


Opener = Callable[[Any, str | None, int | None], Runner]
"""Loads a model: source, device (None: from the source), threads. Both the opener and its source are picklable."""


def open_cases(source: ModelLoader, device: str | None, threads: int | None) -> Runner:
    """Load a model that computes cases; an `Opener`."""
    # Imported here: the parent of worker processes refers to this function, and must not import heavy modules.
    from itk_infer.executors.case_runner import CaseRunner

    return CaseRunner(source.load(device=device, threads=threads))
