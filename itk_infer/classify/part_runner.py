"""The runner of parts: a loaded model that classifies parts of an archive in a worker, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from itk_infer.classifier import Classifier
from itk_infer.classify.batch import settle_batch
from itk_infer.classify.first_pictures import settle_precision
from itk_infer.classify.messages import FileDone
from itk_infer.classify.model_facts import ModelFacts, facts_of
from itk_infer.classify.part import ClassifierRequest, Part
from itk_infer.classify.work import Work, threads_on
from itk_infer.errors import InterruptedRunError, ItkInferError, ModelError, unexpected
from itk_infer.executors.messages import Failed, Outcome, Returned
from itk_infer.machine import usable_cores
from itk_infer.model.runtimes.precision import Precision


def open_parts(source: ClassifierRequest, device: str | None, threads: int | None) -> PartRunner:
    """Load a model for classifying parts; an `Opener`."""
    count = threads or usable_cores()
    classifier = source.load(device=device, threads=count)
    classifier.model.wait()
    words = settle_precision(classifier, source.source, lambda: None)
    cache = source.options.batch_cache
    batch, notes = settle_batch(classifier, source.batch, cache, source.source, count, lambda: None)
    return PartRunner(classifier, facts_of(classifier, batch, count, (*([words] if words else []), *notes)))


class PartRunner:
    """Classifies parts, see `Runner`: its tasks are `Part`, and `run` returns a tuple of `FileDone`.

    Args:
        classifier: The loaded model.
        facts: Description of the model that is sent to the run.
    """

    def __init__(self, classifier: Classifier, facts: ModelFacts) -> None:
        self._classifier, self.facts = classifier, facts

    def run(self, task: Part, worker: int, show: Any, check: Callable[[], None]) -> Outcome:
        """Classify a part. After a stop, the results up to then are returned."""
        found: list[FileDone] = []
        try:
            self._agree(task)
            alone = task.safer and len(task.units) == 1  # the worker may have died for lack of memory
            threads = 1 if alone else threads_on(self._classifier, self.facts.threads)
            self._classify(task, 1 if alone else task.batch, threads, found.append, check)
        except InterruptedRunError:
            pass
        except ItkInferError as error:
            return Failed(task.name, worker, str(error))
        except Exception as error:
            return Failed(task.name, worker, unexpected(error))
        return Returned(task.name, worker, tuple(found))

    def overlapping(self, worker: int, send: Any, show: Any, check: Any) -> None:
        """See `Runner`; None, because reading, decoding and computing overlap within a part already."""

    def _agree(self, part: Part) -> None:
        """Set the precision that the run has recorded.

        Raises:
            ModelError: the model files differ from those that the first worker loaded.
        """
        model = self._classifier.model
        for network, precision in zip(model.networks, part.precisions, strict=True):
            network.in_precision(cast(Precision, precision))
        model.refresh_digest()
        if (model.digest, model.spec_digest) != part.model:
            raise ModelError(
                f"{model.name}: changed while the run was at work, or is another one on another machine; run the "
                "same command again"
            )

    def _classify(
        self, part: Part, batch: int, threads: int, take: Callable[[FileDone], None], check: Callable[[], None]
    ) -> None:
        work = Work(self._classifier, part.root, batch, threads)
        try:
            work.classify(iter(part.units), take, check)
        finally:
            work.close()
