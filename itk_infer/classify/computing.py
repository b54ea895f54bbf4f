"""The seam between a run that classifies and what computes: threads of this process, or workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from itk_infer.classify.messages import FileDone
from itk_infer.classify.model_facts import ModelFacts
from itk_infer.classify.units import Unit


class Computing(Protocol):
    """Classifies units. Writes no database.

    Attributes:
        facts: The model that is loaded.
        parallel: Threads in all.
    """

    facts: ModelFacts

    @property
    def parallel(self) -> int:
        """See above."""
        ...

    def late_notes(self) -> list[str]:
        """Notes of the model that are not in `facts`: a network may still be built while pictures are read."""
        ...

    def work(
        self, units: Iterator[Unit], waiting: int, take: Callable[[FileDone], None], pause: Callable[[], None]
    ) -> None:
        """Classify all units.

        Args:
            units: Taken when there is room for them.
            waiting: How many files are expected in them.
            take: Called with what became of each file, in this thread, once for each.
            pause: Called often; commits what is due, and raises to stop.

        Raises:
            ItkInferError: nothing more can be computed.
        """
        ...
