"""Number of pictures per network call: given, or found by timing and cached, as for windows of volumes."""

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
from itk_infer.model.batch_size.cache import open_cache
from itk_infer.model.batch_size.trial import BatchTrial
from itk_infer.options import BatchChoice

ON_CPU = 12  # with fewer, threads change more often between decoding and the network: 1 to 3 % more time with 8
OF_LARGE = 4  # large pictures, whose inputs take much memory in each thread
LARGE = 1 << 20  # bytes of such an input


@dataclass(frozen=True, slots=True)
class _Timed:
    """Adapts a classifier to the protocol `Batched`. Its digest covers the picture size."""

    digest: str
    device: str
    provider: str
    precision: str
    notes: tuple[str, ...] = ()


def settle_batch(
    classifier: Classifier,
    wanted: BatchChoice | None,
    cache: bool | Path,
    source: Path,
    threads: int,
    check: Callable[[], None],
) -> tuple[int, list[str]]:
    """Determine the number of pictures per network call.

    Args:
        classifier: The model, in its final precision.
        wanted: A number; ``auto``: found by timing; None: ``auto`` on a GPU, `ON_CPU` or `OF_LARGE` on a CPU.
        cache: Where batch sizes are kept between runs, see `open_cache`.
        source: Folder of pictures, or one file; calls are timed on the first pictures.
        threads: Total number of CPU threads.
        check: Called between folders; raises to stop the run.

    Returns:
        The number, and notes for the user.
    """
    networks = classifier.model.networks
    on_gpu = any(network.device != "cpu" for network in networks)
    if wanted is None:
        wanted = "auto" if on_gpu else _on_cpu(classifier)
    if wanted != "auto":
        return wanted, []
    inputs = first_inputs(classifier, source, check, 1)
    if not inputs:  # no picture, or none that can be read
        return _on_cpu(classifier), []
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

    auto = AutoBatch(threads, 1, open_cache(cache))
    size = (first[0], first[1], first[2])
    batch, notes = auto.find(timed, size, lambda: BatchTrial(forward, parts[0][None]), lambda batch: True)
    return batch, [note.replace("window(s)", "picture(s)") for note in notes]


def _on_cpu(classifier: Classifier) -> int:
    """Pictures per call on a CPU; those of unknown size are taken as large."""
    for wanted in classifier.model.inputs:
        size = wanted.center_crop or wanted.size
        if size is None or 4 * len(wanted.channels) * size[0] * size[1] > LARGE:
            return OF_LARGE
    return ON_CPU
