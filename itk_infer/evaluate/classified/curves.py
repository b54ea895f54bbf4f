"""ROC and precision-recall curves of one label over weighted items; a bootstrap resample is a vector of weights.

An item is called positive if its probability is at or above the threshold. Items of equal probability are called
together, so a curve has one point per distinct probability.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Points:
    """Counts of positives and negatives at or above each threshold, from the highest threshold down.

    Attributes:
        thresholds: Distinct probabilities, descending.
        true: Weight of positive items that are called positive.
        false: Weight of negative items that are called positive.
    """

    thresholds: Floats
    true: Floats
    false: Floats

    @property
    def sensitivity(self) -> Floats:
        """Sensitivity at each threshold, preceded by 0: one element more than `thresholds`."""
        rates: Floats = np.concatenate([[0.0], self.true]) / self.true[-1]
        return rates

    @property
    def false_rate(self) -> Floats:
        """1 - specificity at each threshold, preceded by 0."""
        rates: Floats = np.concatenate([[0.0], self.false]) / self.false[-1]
        return rates

    @property
    def precision(self) -> Floats:
        """Precision at each threshold; 1 where no item is called positive."""
        called = self.true + self.false
        return np.divide(self.true, called, out=np.ones_like(called), where=called > 0)

    def precision_at(self, recalls: Floats) -> Floats:
        """The largest precision at each recall or any larger one."""
        best = np.maximum.accumulate(self.precision[::-1])[::-1]
        place = np.searchsorted(self.sensitivity[1:], recalls - 1e-12)
        return best[np.minimum(place, len(best) - 1)]

    def auc(self) -> float:
        """Area under the ROC curve: share of correctly ordered pairs, ties count half (Hanley, McNeil 1982)."""
        return float(np.trapezoid(self.sensitivity, self.false_rate))

    def average_precision(self) -> float:
        """Sum over thresholds of the increase in recall times the precision there, not interpolated."""
        return float((np.diff(self.sensitivity) * self.precision).sum())

    def sensitivity_at(self, specificity: float) -> tuple[float, float]:
        """Largest sensitivity with at least this specificity, and its threshold; infinity if none is positive."""
        allowed = np.flatnonzero(self.false_rate <= 1 - specificity + 1e-12)
        at = int(allowed[-1])
        return float(self.sensitivity[at]), float(self.thresholds[at - 1]) if at else float("inf")


class RankedItems:
    """The items of one label, sorted by probability once for all resamples.

    Args:
        probabilities: Probability of each item, (N,).
        truth: Whether each item has the finding, (N,).
    """

    def __init__(self, probabilities: Floats, truth: NDArray[np.bool_]) -> None:
        self._order = np.argsort(-probabilities, kind="stable")
        ranked = probabilities[self._order]
        self._truth = truth[self._order].astype(np.float64)
        self._ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        self._thresholds = ranked[self._ends]

    def points(self, weights: Floats | None = None) -> Points | None:
        """Points of the curves; None if no item is positive, or none is negative.

        Args:
            weights: Weight of each item, in the order of the arguments; None: 1 for all.
        """
        ranked = np.ones(len(self._order)) if weights is None else weights[self._order]
        true = np.cumsum(ranked * self._truth)[self._ends]
        false = np.cumsum(ranked * (1 - self._truth))[self._ends]
        return Points(self._thresholds, true, false) if true[-1] > 0 and false[-1] > 0 else None
