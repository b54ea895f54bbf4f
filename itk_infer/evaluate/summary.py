"""Means over cases with confidence intervals; missed structures are reported, and never silently left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itk_infer.evaluate.scores import DISTANCES, METRICS, CaseScores, LabelScores

RESAMPLES = 2000
INTERVAL = (2.5, 97.5)  # percentiles of the resampled means
SEED = 0


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """Summary of one metric of one label over cases.

    Attributes:
        metric: Key of `scores.METRICS`.
        mean: Mean over `count` cases; for distances, those where mask and truth both have voxels.
        low: Lower end of the 95 % interval, by bootstrap over cases; None for fewer than two cases.
        high: Upper end.
        median: Median over all `of` cases, with misses as infinite distances.
        count: Number of cases in the mean.
        of: Number of cases to which the metric applies.
        penalised: Mean over all `of` cases, with the image's diagonal in place of infinite distances.
    """

    metric: str
    mean: float | None
    low: float | None
    high: float | None
    median: float | None
    count: int
    of: int
    penalised: float | None

    @property
    def words(self) -> str:
        """A description of the cases in the mean."""
        if self.metric in DISTANCES and self.count < self.of:
            return f"mean over {self.count} found of {self.of}"
        return f"mean over {self.of}"


@dataclass(frozen=True, slots=True)
class LabelSummary:
    """Summary of one label over cases.

    Attributes:
        name: Name of the label.
        tolerance_mm: Tolerance of the NSD, in mm.
        states: Number of cases by `LabelScores.state`.
        metrics: Summaries, in the order of `scores.METRICS`.
        lesions: Counts of components and matched pairs, over all cases; None if they were not counted.
    """

    name: str
    tolerance_mm: float
    states: dict[str, int]
    metrics: tuple[MetricSummary, ...]
    lesions: tuple[int, int, int] | None

    def metric(self, name: str) -> MetricSummary:
        """The summary of one metric, by its key."""
        return next(metric for metric in self.metrics if metric.metric == name)


def summarise(cases: Sequence[CaseScores]) -> list[LabelSummary]:
    """Summarise all labels of cases from `scores.completed`."""
    names = [label.name for label in cases[0].labels] if cases else []
    diagonals = np.array([case.diagonal_mm for case in cases])
    return [_label([case.labels[index] for case in cases], diagonals) for index in range(len(names))]


def _label(labels: Sequence[LabelScores], diagonals: NDArray[np.float64]) -> LabelSummary:
    states = [label.state for label in labels]
    counted = [label.lesions for label in labels if label.lesions is not None]
    lesions = sum(c.truth for c in counted), sum(c.mask for c in counted), sum(c.matched for c in counted)
    return LabelSummary(
        labels[0].name,
        labels[0].tolerance_mm,
        {state: states.count(state) for state in ("found", "missed", "false alarm", "absent")},
        tuple(_metric(name, labels, diagonals) for name in METRICS),
        lesions if counted else None,
    )


def _metric(name: str, labels: Sequence[LabelScores], diagonals: NDArray[np.float64]) -> MetricSummary:
    values = [getattr(label, name) for label in labels]
    applies = np.array([value is not None for value in values])
    numbers = np.array([value for value in values if value is not None], float)
    finite = numbers[np.isfinite(numbers)]
    low, high = interval(numbers)
    penalised = np.where(np.isfinite(numbers), numbers, diagonals[applies])
    return MetricSummary(
        name,
        float(finite.mean()) if len(finite) else None,
        low,
        high,
        float(np.sort(numbers)[_middle(len(numbers))].mean()) if len(numbers) else None,
        len(finite),
        len(numbers),
        float(penalised.mean()) if len(numbers) else None,
    )


def _middle(count: int) -> list[int]:
    return [(count - 1) // 2, count // 2]


def interval(values: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """The 95 % interval of the mean of the finite values, by resampling cases (percentile bootstrap).

    Cases with an infinite value are drawn like all others, and excluded from each resampled mean. The random
    numbers are the same in every call, so that the same cases give the same interval.
    """
    if np.isfinite(values).sum() < 2:
        return None, None
    rng = np.random.default_rng(SEED)
    means = []
    for _ in range(max(1, math.ceil(RESAMPLES * len(values) / 2**22))):  # in blocks, to bound memory
        draws = math.ceil(RESAMPLES / max(1, math.ceil(RESAMPLES * len(values) / 2**22)))
        drawn = values[rng.integers(len(values), size=(draws, len(values)))]
        kept = np.isfinite(drawn)
        counts = kept.sum(axis=1)
        sums = np.where(kept, drawn, 0.0).sum(axis=1)
        means.append(sums[counts > 0] / counts[counts > 0])
    low, high = np.percentile(np.concatenate(means), INTERVAL)
    return float(low), float(high)
