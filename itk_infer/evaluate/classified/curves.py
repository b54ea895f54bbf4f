"""ROC and precision-recall curves of one label, of weighted items, so that a resample is a vector of weights.

An item is called positive from a threshold on (>=). Items of equal probability change sides together, so curves
have one point per distinct probability.
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
        true: Weight of items that are positive and called so.
        false: Weight of items that are negative and called positive.
    """

    thresholds: Floats
    true: Floats
    false: Floats

    @property
    def sensitivity(self) -> Floats:
        """From the origin, so one longer than `thresholds`."""
        rates: Floats = np.concatenate([[0.0], self.true]) / self.true[-1]
        return rates

    @property
    def false_rate(self) -> Floats:
        """1 - specificity, likewise."""
        rates: Floats = np.concatenate([[0.0], self.false]) / self.false[-1]
        return rates

    @property
    def precision(self) -> Floats:
        """At each threshold; 1 where nothing is called positive."""
        called = self.true + self.false
        return np.divide(self.true, called, out=np.ones_like(called), where=called > 0)

    def precision_at(self, recalls: Floats) -> Floats:
        """The largest precision at each recall or a larger one."""
        best = np.maximum.accumulate(self.precision[::-1])[::-1]
        place = np.searchsorted(self.sensitivity[1:], recalls - 1e-12)
        return best[np.minimum(place, len(best) - 1)]

    def auc(self) -> float:
        """Area under the ROC curve: the share of pairs in right order, ties half (Hanley, McNeil 1982)."""
        return float(np.trapezoid(self.sensitivity, self.false_rate))

    def average_precision(self) -> float:
        """Sum over thresholds of the gain in recall times the precision there, without interpolation."""
        return float((np.diff(self.sensitivity) * self.precision).sum())

    def sensitivity_at(self, specificity: float) -> tuple[float, float]:
        """The largest sensitivity at this specificity or a higher one, and its threshold; infinity calls none."""
        allowed = np.flatnonzero(self.false_rate <= 1 - specificity + 1e-12)
        at = int(allowed[-1])
        return float(self.sensitivity[at]), float(self.thresholds[at - 1]) if at else float("inf")


class RankedItems:
    """Items of one label, sorted once.

    Args:
        probabilities: (N,).
        truth: (N,), whether each has the finding.
    """

    def __init__(self, probabilities: Floats, truth: NDArray[np.bool_]) -> None:
        self._order = np.argsort(-probabilities, kind="stable")
        ranked = probabilities[self._order]
        self._truth = truth[self._order].astype(np.float64)
        self._ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        self._thresholds = ranked[self._ends]

    def points(self, weights: Floats | None = None) -> Points | None:
        """The curve's points; None without a positive or without a negative item.

        Args:
            weights: Of each item, in the order of the arguments; None: 1.
        """
        ranked = np.ones(len(self._order)) if weights is None else weights[self._order]
        true = np.cumsum(ranked * self._truth)[self._ends]
        false = np.cumsum(ranked * (1 - self._truth))[self._ends]
        return Points(self._thresholds, true, false) if true[-1] > 0 and false[-1] > 0 else None
