"""The interface between a run and what classifies its files: threads of this process, or workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from itk_infer.classify.messages import FileDone
from itk_infer.classify.model_facts import ModelFacts
from itk_infer.classify.units import Unit


class Computing(Protocol):
    """Classifies units. Does not write the database.

    Attributes:
        facts: Description of the loaded model.
        parallel: Total number of threads.
    """

    facts: ModelFacts

    @property
    def parallel(self) -> int:
        """Total number of threads."""
        ...

    def late_notes(self) -> list[str]:
        """Notes of the model that are not in `facts`: a network may still be built while pictures are read."""
        ...

    def work(
        self, units: Iterator[Unit], waiting: int, take: Callable[[FileDone], None], pause: Callable[[], None]
    ) -> None:
        """Classify all units.

        Args:
            units: Consumed as threads become free.
            waiting: Expected number of files in all units.
            take: Called once per file with its result, in the calling thread.
            pause: Called often, in the calling thread; commits results that are due, and raises to stop.

        Raises:
            ItkInferError: the computation cannot continue.
        """
        ...
