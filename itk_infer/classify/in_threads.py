"""Classification by the threads of this process, which share one model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from itk_infer.classifier import Classifier
from itk_infer.classify.ahead import Ahead
from itk_infer.classify.batch import settle_batch
from itk_infer.classify.first_pictures import settle_precision
from itk_infer.classify.messages import FileDone
from itk_infer.classify.model_facts import facts_of
from itk_infer.classify.settings import ClassifySettings
from itk_infer.classify.units import Unit
from itk_infer.classify.work import Work, threads_on


class InThreads:
    """Classifies in threads of this process; implements `Computing`.

    Args:
        classifier: The loaded model; its precision may change.
        settings: Input, batch size and threads.
        check: Called often, in the calling thread; raises to stop.
        ahead: Files that are opened already; stopped when the threads start.
    """

    def __init__(
        self, classifier: Classifier, settings: ClassifySettings, check: Callable[[], None], ahead: Ahead
    ) -> None:
        self._ahead = ahead
        words = settle_precision(classifier, settings.input, check, partial(ahead.open, keep=True))
        threads = settings.own_threads
        batch, notes = settle_batch(
            classifier, settings.batch, settings.batch_cache, settings.input, threads, check
        )
        self._classifier, self._root = classifier, settings.root
        self.facts = facts_of(classifier, batch, threads, (*([words] if words else []), *notes))

    @property
    def parallel(self) -> int:
        """See `Computing`."""
        return self.facts.threads

    def late_notes(self) -> list[str]:
        """See `Computing`."""
        return [note for note in self._classifier.model.notes if note not in self.facts.notes]

    def work(
        self, units: Iterator[Unit], waiting: int, take: Callable[[FileDone], None], pause: Callable[[], None]
    ) -> None:
        """See `Computing`."""
        threads = threads_on(self._classifier, self.facts.threads)
        work = Work(self._classifier, self._root, self.facts.batch, threads, self._ahead.open)
        self._ahead.stop()
        try:
            work.classify(units, take, pause)
        finally:
            work.close()
