"""Counts the probabilities of one case against its ground truth; writes no files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.evaluate.thresholds import Histogram
from itk_infer.outputs.sink import OutputHeader
from itk_infer.spec import Label, OutputSpec
from itk_infer.volume.label_values import value_of
from itk_infer.volume.slab import DecidedSlab

BLOCK_VOXELS = 2**20


@dataclass(frozen=True, slots=True)
class TruthOnSlabs:
    """Ground truth of a case, in the orientation of its slabs.

    Attributes:
        labels: Values, (Z, Y, X).
        value_of: Value in the truth for each label value of the model; labels without one are not counted.
    """

    labels: NDArray[np.unsignedinteger[Any]]
    value_of: dict[int, int]


class ThresholdSink:
    """Counts the voxels of each label at every threshold.

    Probabilities are computed from float16 logits, as stored by the logits output: exact to half a histogram step.

    Args:
        header: Header of the case.
        output: Output block of the model's spec, which defines the activation.
        truth: Ground truth; None: only probabilities are counted.

    Attributes:
        histograms: Histogram per label value.
    """

    needs_logits = True

    def __init__(self, header: OutputHeader, output: OutputSpec, truth: TruthOnSlabs | None) -> None:
        self._labels: Sequence[Label] = [
            label for label in header.labels if truth is None or label.value in truth.value_of
        ]
        self._output = output
        self._truth = truth
        self.histograms = {label.value: Histogram() for label in self._labels}

    def write(self, slab: DecidedSlab) -> None:
        """Count the voxels of one slab."""
        if slab.logits is None:
            raise RuntimeError("a slab without logits")
        rows = max(1, BLOCK_VOXELS // (slab.logits.shape[3] * len(slab.logits)))
        for plane in range(slab.logits.shape[1]):
            for start in range(0, slab.logits.shape[2], rows):
                here = slice(start, start + rows)
                self._count(slab.logits[:, plane, here].astype(np.float32), (slab.z0 + plane, here))

    def _count(self, logits: NDArray[np.float32], where: tuple[int, slice]) -> None:
        probabilities = self._probabilities(logits)
        for label in self._labels:
            probability = value_of(probabilities, label)
            if self._truth is None:
                inside = np.zeros(probability.shape, np.bool_)
            else:
                inside = self._truth.labels[where] == self._truth.value_of[label.value]
            self.histograms[label.value].add(probability, inside)

    def _probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._output.values == "probabilities":
            return logits
        if self._output.decision == "threshold":
            sigmoid: NDArray[np.float32] = 0.5 + 0.5 * np.tanh(0.5 * logits)
            return sigmoid
        shares: NDArray[np.float32] = np.exp(logits - logits.max(axis=0))
        shares /= shares.sum(axis=0)
        return shares

    def commit(self) -> None:
        """Does nothing, as no file is written."""

    def abort(self) -> None:
        """Does nothing, as no file is written."""
