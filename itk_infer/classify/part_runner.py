"""The worker's side: a model loaded once, and one part of the archive after the other."""

from __future__ import annotations

import queue
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from itk_infer.classifier import Classifier
from itk_infer.classify.batch import settle_batch
from itk_infer.classify.first_pictures import settle_precision
from itk_infer.classify.messages import FileDone
from itk_infer.classify.model_facts import ModelFacts, facts_of
from itk_infer.classify.part import ClassifierRequest, Part
from itk_infer.classify.work import Work
from itk_infer.errors import InterruptedRunError, ItkInferError, ModelError
from itk_infer.executors.messages import Failed, Outcome, Returned
from itk_infer.machine import usable_cores
from itk_infer.model.batch_size.cache import open_cache
from itk_infer.model.runtimes.precision import Precision

LOOK_S = 0.1  # how often a stop is looked for while no result comes


def open_parts(source: ClassifierRequest, device: str | None, threads: int | None) -> PartRunner:
    """Load a model that classifies parts; an `Opener`."""
    count = threads or usable_cores()
    classifier = source.load(device=device, threads=count)
    classifier.model.wait()
    words = settle_precision(classifier, source.source, lambda: None)
    cache = open_cache(source.options.batch_cache)
    batch, notes = settle_batch(classifier, source.batch, cache, source.source, count, lambda: None)
    return PartRunner(classifier, facts_of(classifier, batch, count, (*([words] if words else []), *notes)))


class PartRunner:
    """See `Runner`; its tasks are `Part`, and it returns a tuple of `FileDone`.

    Args:
        classifier: The loaded model.
        facts: What the run is told of it.
    """

    def __init__(self, classifier: Classifier, facts: ModelFacts) -> None:
        self._classifier, self.facts = classifier, facts

    def run(self, task: Part, worker: int, show: Any, check: Callable[[], None]) -> Outcome:
        """Classify a part; what is done when a stop comes is returned, and the rest is not."""
        found: list[FileDone] = []
        try:
            self._agree(task)
            alone = task.safer and len(task.units) == 1  # whatever ended its worker may have been its memory
            batch, threads = (1, 1) if alone else (task.batch, self.facts.threads)
            self._classify(task, batch, threads, found.append, check)
        except InterruptedRunError:
            pass
        except ItkInferError as error:
            return Failed(task.name, worker, str(error))
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(where.filename).name}:{where.lineno}"
            return Failed(task.name, worker, f"unexpected {type(error).__name__}: {error} ({place})")
        return Returned(task.name, worker, tuple(found))

    def overlapping(self, worker: int, send: Any, show: Any, check: Any) -> None:
        """Reading, decoding and the network overlap in the threads of a part."""

    def _agree(self, part: Part) -> None:
        """Run in the precision that the run records.

        Raises:
            ModelError: the files of the model are others than those that the first worker loaded.
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
            for unit in part.units:
                work.submit(unit)
            work.finish()
            left = len(part.files)
            while left:
                check()
                try:
                    result = work.results.get(timeout=LOOK_S)
                except queue.Empty:
                    continue
                if isinstance(result, BaseException):
                    raise result
                take(result)
                left -= 1
        finally:
            work.close()
