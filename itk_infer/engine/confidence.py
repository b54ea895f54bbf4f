"""Confidence of the network: one minus its normalised entropy, averaged over voxels.

For argmax models the confidence of a voxel is ``1 - H / ln C`` with ``H = -sum(p ln p)`` over the
softmax p of its C logits (Shannon entropy, natural logarithm). For threshold models every channel is
a binary decision: ``1 - H / ln 2`` with the entropy of (p, 1 - p), averaged over the labels.
Everything is computed on the model's grid, without padding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itk_infer.arrays import Array, namespace
from itk_infer.engine.decision import Decision

Floats = NDArray[np.float32]
VANISHES = -200.0  # exp of it is 0 in float32, and 0 times it is 0, not NaN


@dataclass(frozen=True, slots=True)
class Confidence:
    """Mean confidences, 0 (all classes equally likely) to 1 (one class certain); None for a mean of no voxels.

    Attributes:
        overall: Over all voxels.
        foreground: Over the voxels of any label.
        per_label: Over the voxels of each label, in the order of the label table.
    """

    overall: float | None
    foreground: float | None
    per_label: tuple[float | None, ...]


class ConfidenceSum:
    """Sums confidences slab by slab, in float64."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision
        # Row 0: all voxels; row 1: foreground; then one row per label. Columns: sum, voxels.
        self._sums = np.zeros((2 + len(decision.table), 2))

    def add(self, values: Floats, labels: NDArray[np.generic], masks: NDArray[np.bool_] | None) -> None:
        """Add one slab.

        Args:
            values: Logits or probabilities, (C, dz, Y, X).
            labels: Their label values, (dz, Y, X).
            masks: Their masks of a threshold model, (L, dz, Y, X); None for argmax.
        """
        if masks is None:
            probabilities = self._decision.output.values == "probabilities"
            # Plane by plane, so that the several passes over a plane find it in the cache.
            sure = np.stack([categorical_confidence(plane, probabilities) for plane in np.moveaxis(values, 1, 0)])
            self._add(0, sure)
            self._add(1, sure[labels != 0])
            counted = np.bincount(labels.ravel(), minlength=65536)
            summed = np.bincount(labels.ravel(), sure.ravel(), minlength=65536)
            for row, label in enumerate(self._decision.table, 2):
                self._sums[row] += summed[label.value], counted[label.value]
            return
        per_label = binary_confidence(
            values[[label.channel for label in self._decision.table]],
            self._decision.output.values == "probabilities",
        )
        sure = per_label.mean(axis=0)
        self._add(0, sure)
        self._add(1, sure[masks.any(axis=0)])
        for row, (own, mask) in enumerate(zip(per_label, masks, strict=True), 2):
            self._add(row, own[mask])

    def _add(self, row: int, confidences: Floats) -> None:
        self._sums[row] += confidences.sum(dtype=np.float64), confidences.size

    def result(self) -> Confidence:
        """The means so far."""
        return confidence_of(self._sums)


def confidence_of(sums: NDArray[np.float64]) -> Confidence:
    """Means from sums and counts, (2 + L, 2): all voxels, foreground, then each label."""
    means = [float(total / count) if count else None for total, count in sums]
    return Confidence(means[0], means[1], tuple(means[2:]))


def categorical_confidence(values: Array, probabilities: bool) -> Array:
    """``1 - H / ln C`` of every voxel, (C, ...) to (...), float32, finite for any finite input."""
    xp = namespace(values)
    if probabilities:
        share = xp.clip(values, 0.0, None)
        total = xp.sum(share, axis=0)
        share = xp.where(total > 0, share / xp.where(total > 0, total, 1.0), 1 / len(share))
        entropy = -xp.sum(share * xp.log(xp.where(share > 0, share, 1.0)), axis=0)
    else:
        # H = ln(sum e) - sum(e z) / sum(e) with z shifted to a maximum of 0: no logarithm of 0.
        with np.errstate(over="ignore"):
            shifted = xp.clip(values - xp.max(values, axis=0), VANISHES, None)
        powers = xp.exp(shifted)
        total = xp.sum(powers, axis=0)
        powers *= shifted
        entropy = xp.log(total) - xp.sum(powers, axis=0) / total
    return xp.clip(1 - entropy / math.log(len(values)), 0.0, 1.0)


def binary_confidence(values: Array, probabilities: bool) -> Array:
    """``1 - H / ln 2`` of every voxel in every channel, same shape, float32."""
    xp = namespace(values)
    if probabilities:
        share = xp.clip(values, 0.0, 1.0)
        entropy = xp.zeros_like(share)
        for part in (share, 1 - share):
            entropy -= part * xp.log(xp.where(part > 0, part, 1.0))
    else:
        # With a = |z|: H = ln(1 + e^-a) + a e^-a / (1 + e^-a); symmetric in the sign of z.
        size = xp.abs(values)
        power = xp.exp(-size)
        entropy = xp.log1p(power) + size * power / (1 + power)
    return xp.clip(1 - entropy / math.log(2), 0.0, 1.0)
