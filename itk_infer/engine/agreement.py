"""How far the members of a model agree: Dice of every pair per label, and mutual information.

The Dice of a pair compares what two members would have decided alone. The mutual information of a voxel is the
entropy of the mean probabilities less the mean of the members' entropies (Depeweg et al. 2018, arXiv 1710.07283):
the part of the uncertainty that comes from differences between members. It is divided by ln C, for threshold
models by ln 2 and averaged over the labels, so that it is between 0 and 1. That of a case is the mean over the
voxels that have a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from itk_infer.arrays import Array, like, namespace, to_host
from itk_infer.engine.blocks import blocks
from itk_infer.engine.confidence import binary, categorical
from itk_infer.engine.decision import Decision, winners
from itk_infer.spec import OutputSpec
from itk_infer.volume.label_values import value_of, values_of


@dataclass(frozen=True, slots=True)
class AgreementStats:
    """The agreement of the members on one case.

    Attributes:
        members: Number of members.
        dice: Dice of each label, in the order of the label table: the mean over pairs of members, without pairs of
            which neither found the label; None if no member found it.
        mutual_information: 0 to 1; None if no voxel has a label.
    """

    members: int
    dice: tuple[float | None, ...]
    mutual_information: float | None


class Agreement:
    """Measures agreement, slab by slab.

    Args:
        output: The meaning of the channels.
        weights: Weights of the members; their sum is 1.
    """

    def __init__(self, output: OutputSpec, weights: Sequence[float]) -> None:
        self._output = replace(output, values="probabilities")
        self._weights = weights
        self._decision: Decision | None = None
        self._information, self._voxels = 0.0, 0

    def add(self, parts: Sequence[Array], mean: Array) -> None:
        """Add the same planes of all members.

        Args:
            parts: Probabilities of each member, (C, dz, Y, X).
            mean: Their weighted mean.
        """
        if self._decision is None:
            self._decision = Decision(self._output, len(mean))
            labels, count = len(self._decision.table), len(self._weights)
            self._sizes = np.zeros((labels, count), np.int64)
            self._common = np.zeros((labels, count, count), np.int64)
        if self._decision.output.decision == "argmax":
            scores = (self._decision.scores(part) for part in parts)
            self._add_winners(np.stack([_winners(part) for part in scores]), self._decision)
        else:
            self._add_masks(parts, self._decision)
        self._add_information(parts, mean, self._decision)

    def result(self) -> AgreementStats:
        """Return the agreement over all planes so far."""
        count = len(self._weights)
        if self._decision is None:
            return AgreementStats(count, (), None)
        pairs = list(combinations(range(count), 2))
        dice: list[float | None] = []
        for sizes, common in zip(self._sizes, self._common, strict=True):
            values = [2 * common[i, j] / (sizes[i] + sizes[j]) for i, j in pairs if sizes[i] + sizes[j]]
            dice.append(float(np.mean(values)) if values else None)
        return AgreementStats(count, tuple(dice), self._information / self._voxels if self._voxels else None)

    def _add_winners(self, won: NDArray[np.integer], decision: Decision) -> None:
        """Count the members' largest channels, (M, dz, Y, X)."""
        channels, bins = [label.channel for label in decision.table], decision.channels
        won = won.reshape(len(won), -1)
        disputed = (won[1:] != won[0]).any(axis=0)
        agreed = np.bincount(won[0, ~disputed], minlength=bins)[channels]
        self._sizes += agreed[:, None]
        self._common += agreed[:, None, None]
        won = won[:, disputed]
        for i, own in enumerate(won):
            self._sizes[:, i] += np.bincount(own, minlength=bins)[channels]
            for j in range(i + 1, len(won)):
                self._common[:, i, j] += np.bincount(own[own == won[j]], minlength=bins)[channels]

    def _add_masks(self, parts: Sequence[Array], decision: Decision) -> None:
        for row, (label, bound) in enumerate(zip(decision.table, decision.label_bounds.tolist(), strict=True)):
            masks = [to_host(value_of(part, label) > bound).ravel() for part in parts]
            self._sizes[row] += [np.count_nonzero(mask) for mask in masks]
            for i, j in combinations(range(len(masks)), 2):
                self._common[row, i, j] += np.count_nonzero(masks[i] & masks[j])

    def _add_information(self, parts: Sequence[Array], mean: Array, decision: Decision) -> None:
        xp = namespace(mean)
        if decision.output.decision == "argmax":
            background = [channel for channel, value in enumerate(decision.value_of_channel) if not value]
            found = xp.ones(mean.shape[1:], dtype=xp.bool) if not background else None
            for block in blocks(tuple(mean.shape[1:])):  # which stay in the cache
                here = (slice(None), *block)
                sure = sum(
                    weight * categorical(part[here], True)[0]
                    for part, weight in zip(parts, self._weights, strict=True)
                )
                difference = sure - categorical(mean[here], True)[0]
                scores = decision.scores(mean[here])
                top = xp.max(scores, axis=0)
                labelled = found[block] if found is not None else xp.max(scores[background], axis=0) < top
                self._count(difference, labelled)
            return
        bounds = like(decision.label_bounds[:, None, None], mean)
        for z in range(mean.shape[1]):
            planes = [values_of(part[:, z], decision.table) for part in parts]
            share = values_of(mean[:, z], decision.table)
            sure = sum(weight * binary(part, True)[0] for part, weight in zip(planes, self._weights, strict=True))
            difference = xp.mean(sure - binary(share, True)[0], axis=0)
            self._count(difference, xp.any(share > bounds, axis=0))

    def _count(self, difference: Array, labelled: Array) -> None:
        values = to_host(difference[labelled])
        self._information += float(np.clip(values, 0, 1).sum(dtype=np.float64))
        self._voxels += values.size


def _winners(values: Array) -> NDArray[np.integer]:
    """Index of the largest channel, (dz, Y, X), in host memory."""
    if isinstance(values, np.ndarray):
        return winners(values)
    found: NDArray[np.integer] = to_host(values.argmax(dim=0))
    return found
