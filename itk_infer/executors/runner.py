"""The seam between the processes of executors and what they compute: cases, or parts of an archive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from itk_infer.case.case import Case
from itk_infer.events import CaseStarted, Progress, Warned
from itk_infer.executors.loader import ModelLoader
from itk_infer.executors.messages import Outcome

Show = Callable[[CaseStarted | Progress | Warned], None]


class Overlapping(Protocol):
    """Computes tasks while the next one is read and the last one is written; see `Overlap`."""

    def run(self, task: Any, ahead: Case | None) -> None:
        """Compute a task, and read a case meanwhile that will probably come next."""
        ...

    def close(self) -> None:
        """Wait for what is being read and written."""
        ...


class Runner(Protocol):
    """A loaded model that computes tasks, one after the other."""

    @property
    def facts(self) -> Any:
        """What the run is told of the model; its `about` is JSON-ready and names the version as ``itk_infer``."""
        ...

    def run(self, task: Any, worker: int, show: Show, check: Callable[[], None]) -> Outcome:
        """Compute one task. Never raises an `Exception`.

        Args:
            task: What to compute.
            worker: Number of the worker, for events.
            show: Takes the events of the task.
            check: Called often; raises `InterruptedRunError` to stop.
        """
        ...

    def overlapping(
        self, worker: int, send: Callable[[Any], None], show: Show, check: Callable[[], None]
    ) -> Overlapping | None:
        """What computes instead of `run` in a process of its own; None: nothing, tasks do not overlap."""
        ...


Opener = Callable[[Any, str | None, int | None], Runner]
"""Loads a model where it is to run: source, device (None: the source's own), threads. Both are picklable."""


def open_cases(source: ModelLoader, device: str | None, threads: int | None) -> Runner:
    """Load a model that computes cases; an `Opener`."""
    # Not at the top: the parent of worker processes names this function, and imports nothing heavy.
    from itk_infer.executors.case_runner import CaseRunner

    return CaseRunner(source.load(device=device, threads=threads))
