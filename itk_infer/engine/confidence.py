"""Confidence of the network: one minus its normalised entropy, averaged over voxels; and soft Dice per label.

For argmax models the confidence of a voxel is ``1 - H / ln C`` with ``H = -sum(p ln p)`` over the
softmax p of its C logits (Shannon entropy, natural logarithm). For threshold models every channel is
a binary decision: ``1 - H / ln 2`` with the entropy of (p, 1 - p), averaged over the labels.
The soft Dice of a label is ``2 sum(p m) / (sum(p) + sum(m))``, with its probability p and its mask m (Gomes et al.
2024, "Soft Dice confidence", arXiv 2402.10665): an estimate of its Dice that assumes calibrated probabilities.
Everything is computed on the model's grid, without padding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from itk_infer.arrays import Array, at_channel, namespace
from itk_infer.engine.blocks import BLOCK_VOXELS, blocks
from itk_infer.engine.decision import Decision
from itk_infer.volume.label_values import value_of

if TYPE_CHECKING:  # it imports this module
    from itk_infer.engine.uncertainty import UncertaintyMap

Floats = NDArray[np.float32]
BLOCK_NUMBERS = 4 * BLOCK_VOXELS  # of all channels, so that several passes over them find them in the cache
VANISHES = -200.0  # exp of it is 0 in float32, and 0 times it is 0, not NaN


@dataclass(frozen=True, slots=True)
class Confidence:
    """Mean confidences, 0 (all classes equally likely) to 1 (one class certain); None for a mean of no voxels.

    Attributes:
        overall: Over all voxels.
        foreground: Over the voxels of any label.
        per_label: Over the voxels of each label, in the order of the label table.
        soft_dice: Soft Dice of each label, 0 to 1; None if it has no voxels.
        expected: Sum of the probabilities of each label: voxels of the model's grid.
    """

    overall: float | None
    foreground: float | None
    per_label: tuple[float | None, ...]
    soft_dice: tuple[float | None, ...] = ()
    expected: tuple[float, ...] = ()


class ConfidenceSum:
    """Sums confidences slab by slab, in float64.

    Args:
        decision: The decision rule.
        uncertainty: Gets the confidence of each voxel, too; None: not wanted.
    """

    def __init__(self, decision: Decision, uncertainty: UncertaintyMap | None = None) -> None:
        self._decision = decision
        self._uncertainty = uncertainty
        # Row 0: all voxels; row 1: foreground; then one row per label. Columns: sum, voxels.
        self._sums = np.zeros((2 + len(decision.table), 2))
        # Per label: sum of its probability over all voxels, and over its own.
        self._expected = np.zeros((len(decision.table), 2))

    def add(self, values: Floats, labels: NDArray[np.generic], masks: NDArray[np.bool_] | None) -> None:
        """Add one slab.

        Args:
            values: Logits or probabilities, (C, dz, Y, X).
            labels: Their label values, (dz, Y, X).
            masks: Their masks of a threshold model, (L, dz, Y, X); None for argmax.
        """
        if masks is None:
            probabilities = self._decision.output.values == "probabilities"
            sure = None if self._uncertainty is None else np.empty(labels.shape, np.float32)
            expected = np.zeros(len(values))
            counted, summed, agreed = np.zeros((3, len(self._decision.channel_of_value)))
            for block in blocks(labels.shape, min(BLOCK_VOXELS, BLOCK_NUMBERS // len(values))):
                chosen = self._decision.channel_of_value[labels[block]] if self._decision.weighs else None
                of_block = categorical(values[(slice(None), *block)], probabilities, chosen)
                if sure is not None:
                    sure[block] = of_block[0]
                expected += of_block[2]
                flat = labels[block].ravel().astype(np.intp)
                for total, weights in ((counted, None), (summed, of_block[0]), (agreed, of_block[1])):
                    total += np.bincount(flat, None if weights is None else weights.ravel(), len(total))
            if self._uncertainty is not None and sure is not None:
                self._uncertainty.add(sure)
            self._sums[0] += summed.sum(), counted.sum()
            self._sums[1] += summed[1:].sum(), counted[1:].sum()
            for row, label in enumerate(self._decision.table):
                self._sums[row + 2] += summed[label.value], counted[label.value]
                self._expected[row] += expected[label.channel], agreed[label.value]
            return
        for z in range(labels.shape[0]):
            self._add_binary(values[:, z], masks[:, z])

    def _add_binary(self, values: Floats, masks: NDArray[np.bool_]) -> None:
        """Add one plane of a threshold model, (C, Y, X) and (L, Y, X): label by label, as above."""
        probabilities = self._decision.output.values == "probabilities"
        total = np.zeros(masks.shape[1:], np.float32)
        lowest = np.ones(masks.shape[1:], np.float32)
        for row, (label, mask) in enumerate(zip(self._decision.table, masks, strict=True)):
            sure, share = binary(value_of(values, label), probabilities)
            inside = mask.ravel().astype(np.float32)
            self._sums[row + 2] += sure.ravel() @ inside, np.count_nonzero(mask)
            self._expected[row] += share.sum(), share.ravel() @ inside
            total += sure
            np.minimum(lowest, sure, out=lowest)
        if self._uncertainty is not None:
            self._uncertainty.add(lowest[None])
        total /= len(self._decision.table)
        self._add(0, total)
        self._add(1, total[masks.any(axis=0)])

    def _add(self, row: int, confidences: Floats) -> None:
        self._sums[row] += confidences.sum(dtype=np.float64), confidences.size

    def result(self) -> Confidence:
        """Return the means so far."""
        return confidence_of(self._sums, self._expected)


def confidence_of(sums: NDArray[np.float64], expected: NDArray[np.float64]) -> Confidence:
    """Compute means from sums.

    Args:
        sums: Sum and count of confidences, (2 + L, 2): all voxels, foreground, then each label.
        expected: Sum of a label's probability over all voxels, and over its own, (L, 2).
    """
    means = [float(total / count) if count else None for total, count in sums]
    soft_dice = [
        min(1.0, float(2 * agreed / (everywhere + count))) if count else None
        for (everywhere, agreed), (_, count) in zip(expected, sums[2:], strict=True)
    ]
    return Confidence(means[0], means[1], tuple(means[2:]), tuple(soft_dice), tuple(expected[:, 0].tolist()))


def categorical_confidence(values: Array, probabilities: bool) -> Array:
    """``1 - H / ln C`` of every voxel, (C, ...) to (...), float32, finite for any finite input."""
    return categorical(values, probabilities)[0]


def categorical(values: Array, probabilities: bool, chosen: Array | None = None) -> tuple[Array, Array, Array]:
    """Compute confidence and probabilities in one pass over the channels.

    Args:
        values: Logits or probabilities, (C, ...).
        probabilities: Whether `values` are probabilities.
        chosen: The channel that was decided for, (...); None: the largest.

    Returns:
        Confidence ``1 - H / ln C`` of every voxel, (...), finite for any finite input; the probability of its
        chosen channel, (...); and the sum of each channel's probability, (C,). All float32.
    """
    xp = namespace(values)
    if probabilities:
        share = xp.clip(values, 0.0, None)
        total = xp.sum(share, axis=0)
        share = xp.where(total > 0, share / xp.where(total > 0, total, 1.0), 1 / len(share))
        entropy = -xp.sum(share * xp.log(xp.where(share > 0, share, 1.0)), axis=0)
        top = xp.max(share, axis=0) if chosen is None else at_channel(share, chosen)
        sums = xp.sum(xp.reshape(share, (len(share), -1)), axis=1)
    else:
        # H = ln(sum e) - sum(e z) / sum(e) with z shifted to a maximum of 0: no logarithm of 0.
        with np.errstate(over="ignore"):
            shifted = xp.clip(values - xp.max(values, axis=0), VANISHES, None)
        powers = xp.exp(shifted)
        total = xp.sum(powers, axis=0)
        top = 1 / total  # the largest channel is the one whose power is 1
        sums = xp.reshape(powers, (len(powers), -1)) @ xp.reshape(top, (-1,))
        if chosen is not None:
            top = top * at_channel(powers, chosen)
        powers *= shifted
        entropy = xp.log(total) - xp.sum(powers, axis=0) / total
    return xp.clip(1 - entropy / math.log(len(values)), 0.0, 1.0), top, sums


def binary_confidence(values: Array, probabilities: bool) -> Array:
    """``1 - H / ln 2`` of every voxel in every channel, same shape, float32."""
    return binary(values, probabilities)[0]


def binary(values: Array, probabilities: bool) -> tuple[Array, Array]:
    """Confidence ``1 - H / ln 2`` and probability of every voxel in every channel; same shape, float32."""
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
        smaller = power / (1 + power)  # the probability of the less likely class
        entropy = xp.log1p(power) + size * smaller
        share = 0.5 + xp.copysign(0.5 - smaller, values)
    return xp.clip(1 - entropy / math.log(2), 0.0, 1.0), share
