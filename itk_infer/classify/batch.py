"""Pictures per call of the network: as asked for, or found by timing and remembered, as windows per call are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.classifier import Classifier
from itk_infer.classify.first_pictures import first_inputs
from itk_infer.model.batch_size.auto import AutoBatch
from itk_infer.model.batch_size.cache import BatchCache
from itk_infer.model.batch_size.trial import BatchTrial
from itk_infer.options import BatchChoice

ON_CPU = 4  # where it changes the time per picture by less than 10 %


@dataclass(frozen=True, slots=True)
class _Timed:
    """A classifier under the names of `Batched`; what it sees is in its digest, so that its size is, too."""

    digest: str
    device: str
    provider: str
    precision: str
    notes: tuple[str, ...] = ()


def settle_batch(
    classifier: Classifier,
    wanted: BatchChoice | None,
    cache: BatchCache | None,
    source: Path,
    threads: int,
    check: Callable[[], None],
) -> tuple[int, list[str]]:
    """Pictures per call.

    Args:
        classifier: The model, in its final precision.
        wanted: So many; ``auto``: found by timing; None: ``auto`` on a GPU, and `ON_CPU` on a CPU.
        cache: Batch sizes kept between runs; None: none are read or kept.
        source: Folder of pictures, or one file, on the first of which calls are timed.
        threads: Of the CPU, in all.
        check: Called between folders; raises to stop.

    Returns:
        The number, and notes for the user.
    """
    networks = classifier.model.networks
    on_gpu = any(network.device != "cpu" for network in networks)
    if wanted is None:
        wanted = "auto" if on_gpu else ON_CPU
    if wanted != "auto":
        return wanted, []
    inputs = first_inputs(classifier, source, check, 1)
    if not inputs:  # there is no picture, or none that can be read
        return ON_CPU, []
    parts = inputs[0]
    first = parts[0].shape
    model = classifier.model
    timed = _Timed(
        hashlib.sha256(f"{model.digest} {model.spec_digest}".encode()).hexdigest(),
        next((network.device for network in networks if network.device != "cpu"), "cpu"),
        " + ".join(dict.fromkeys(network.provider for network in networks)),
        " + ".join(dict.fromkeys(network.precision for network in networks)),
    )

    def forward(pictures: Any) -> NDArray[np.float64]:
        return classifier.scores([parts] * len(pictures)).probabilities

    auto = AutoBatch(threads, 1, cache)
    size = (first[0], first[1], first[2])
    batch, notes = auto.find(timed, size, lambda: BatchTrial(forward, parts[0][None]), lambda batch: True)
    return batch, [note.replace("window(s)", "picture(s)") for note in notes]
