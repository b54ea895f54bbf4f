"""Dice at 1,000 thresholds, from one histogram of probabilities per label, summed over cases."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEPS = 1000
THRESHOLDS = np.arange(1, STEPS + 1) / STEPS
EQUAL = 1e-6  # a probability this much below a threshold counts as equal to it: float32 cannot hold 0.688
PLATEAU = 0.002  # Dice; thresholds that lose less than this are as good as the best one
NARROW = 0.1  # a plateau narrower than this depends on the chosen cases
FEW_CASES = 10


@dataclass(slots=True)
class Histogram:
    """Voxels by probability in steps of 1 / `STEPS`, outside and inside of the ground truth.

    Attributes:
        counts: (2, `STEPS` + 1); the second row counts the voxels inside.
    """

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, STEPS + 1), np.int64))

    def add(self, probability: NDArray[np.floating[Any]], truth: NDArray[np.bool_]) -> None:
        """Add voxels.

        Args:
            probability: Probabilities, 0 to 1, of any shape.
            truth: Whether each voxel has the label; same shape.
        """
        level = probability.astype(np.float32, copy=True)
        level += EQUAL
        level *= STEPS
        index = np.clip(level, 0, STEPS).astype(np.uint16)
        index += truth.astype(np.uint16) * np.uint16(STEPS + 1)
        self.counts += np.bincount(index.ravel(), minlength=2 * (STEPS + 1)).reshape(2, STEPS + 1)

    def above(self) -> NDArray[np.int64]:
        """Number of voxels at or above each of `THRESHOLDS`, outside and inside of the truth, (2, `STEPS`)."""
        counts: NDArray[np.int64] = self.counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
        return counts

    def dice(self) -> NDArray[np.float64]:
        """Dice at each threshold, NaN where mask and truth are both empty."""
        outside, inside = self.above()
        with np.errstate(invalid="ignore"):
            dice: NDArray[np.float64] = 2 * inside / (outside + inside + self.counts[1].sum())
        return dice

    def otsu(self) -> float:
        """The threshold with the largest variance between the classes below and above it (Otsu, IEEE SMC 1979)."""
        counts = self.counts.sum(axis=0)
        levels = np.arange(STEPS + 1) / STEPS
        total, moment = counts.sum(), float(counts @ levels)
        above = counts[::-1].cumsum()[::-1][1:]
        moment_above = (counts * levels)[::-1].cumsum()[::-1][1:]
        below = total - above
        with np.errstate(invalid="ignore", divide="ignore"):
            between = above * below * (moment_above / above - (moment - moment_above) / below) ** 2
        between = np.where((above > 0) & (below > 0), between, -1.0)
        best = np.flatnonzero(
            between >= between.max() * (1 - 1e-9)
        )  # the middle of empty levels between two peaks
        return float(THRESHOLDS[best[len(best) // 2]])


@dataclass(frozen=True, slots=True)
class ThresholdChoice:
    """The best threshold of a curve, and its plateau.

    Attributes:
        threshold: Threshold with the largest Dice; the lowest if several are equal.
        dice: Dice at `threshold`.
        low: Lower end of the range of thresholds around it that lose less than `PLATEAU`.
        high: Upper end of that range.
    """

    threshold: float
    dice: float
    low: float
    high: float


def choose(curve: NDArray[np.float64]) -> ThresholdChoice | None:
    """The best threshold of a curve over `THRESHOLDS` and its plateau; None if Dice is undefined everywhere."""
    if not np.isfinite(curve).any():
        return None
    filled = np.where(np.isfinite(curve), curve, -1.0)
    best = int(filled.argmax())
    good = filled >= filled[best] - PLATEAU
    left = right = best
    while left > 0 and good[left - 1]:
        left -= 1
    while right < len(good) - 1 and good[right + 1]:
        right += 1
    ends = float(THRESHOLDS[left]), float(THRESHOLDS[right])
    return ThresholdChoice(float(THRESHOLDS[best]), float(filled[best]), *ends)


@dataclass(slots=True)
class LabelCurves:
    """One label over all cases.

    Attributes:
        name: Name of the label.
        pooled: Sum of the histograms of all cases.
        best: Best threshold of each case, by case name.
    """

    name: str
    pooled: Histogram = field(default_factory=Histogram)
    best: dict[str, float] = field(default_factory=dict)
    _sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros(STEPS))
    _cases: NDArray[np.int64] = field(default_factory=lambda: np.zeros(STEPS, np.int64))

    def add(self, case: str, histogram: Histogram) -> None:
        """Add a case."""
        self.pooled.counts += histogram.counts
        dice = histogram.dice()
        applies = np.isfinite(dice)
        self._sums += np.where(applies, dice, 0.0)
        self._cases += applies
        choice = choose(dice)
        if choice is not None and histogram.counts[1].any():
            self.best[case] = choice.threshold

    def mean_dice(self) -> NDArray[np.float64]:
        """Mean Dice over cases at each threshold; cases where it is undefined are left out."""
        with np.errstate(invalid="ignore"):
            mean: NDArray[np.float64] = self._sums / self._cases
        return mean


def warnings_of(curves: LabelCurves, choice: ThresholdChoice) -> list[str]:
    """Warnings about the chosen threshold, as sentences."""
    sentences = []
    if len(curves.best) < FEW_CASES:
        sentences.append(f"only {len(curves.best)} cases have it: another {FEW_CASES} may give another threshold")
    if choice.high - choice.low < NARROW:
        sentences.append(f"the plateau is narrow ({choice.low:g} to {choice.high:g}): the choice is sensitive")
    return sentences
