"""Metrics of one label over images or studies, with intervals by bootstrap over studies."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from itk_infer.evaluate.classified.curves import Floats, Points, RankedItems

RESAMPLES, FEWEST_RESAMPLES = 2000, 200
WORK: Final = 2**26  # most items times resamples, which limits the number of resamples
SEED: Final = 0
BINS: Final = 10
GRID: Final = np.linspace(0, 1, 101)
INTERVAL: Final = (2.5, 97.5)
MEASURES: Final = {
    "auc": "AUC",
    "average_precision": "average precision",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "negative_value": "negative predictive value",
}


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric with its 95 % interval; None where undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Bin:
    """Items whose probability lies in one tenth of the range 0 to 1.

    Attributes:
        predicted: Mean probability.
        observed: Share of positive items.
        low: Lower end of its 95 % interval, see `wilson`.
        high: Upper end.
        count: Number of items.
    """

    predicted: float
    observed: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Band:
    """A curve sampled on `GRID`, with its pointwise 95 % interval; the interval is None without resamples."""

    value: Floats
    low: Floats | None
    high: Floats | None


@dataclass(frozen=True, slots=True)
class LabelScores:
    """Metrics of one label over images or studies.

    Attributes:
        label: Name of the label.
        level: ``image``, or the group of images, such as ``study``.
        count: Number of items with ground truth.
        positives: Number of positive items.
        threshold: Threshold of the model.
        measures: By the keys of `MEASURES`; the last four are those at `threshold`.
        at_specificity: For each requested specificity, the sensitivity and its threshold.
        confusion: At `threshold`: true positives, false positives, false negatives, true negatives.
        brier: Mean squared difference of probability and truth.
        calibration_error: Mean of abs(predicted - observed) over `bins`, weighted by count (ECE).
        bins: Tenths of the range that have items.
        roc: Sensitivity over 1 - specificity; None without positive or without negative items.
        precisions: Precision over recall; None likewise.
        resamples: Number of bootstrap resamples behind the intervals.
    """

    label: str
    level: str
    count: int
    positives: int
    threshold: float
    measures: dict[str, Measure]
    at_specificity: dict[float, tuple[Measure, float | None]]
    confusion: tuple[int, int, int, int]
    brier: float | None
    calibration_error: float | None
    bins: tuple[Bin, ...]
    roc: Band | None
    precisions: Band | None
    resamples: int


@dataclass(frozen=True, slots=True)
class _Figures:
    """All metrics for one weighting of the items."""

    numbers: dict[str | float, float]
    roc: Floats | None
    precisions: Floats | None


def measure(
    label: str,
    level: str,
    probabilities: Floats,
    truth: NDArray[np.bool_],
    studies: Sequence[str],
    threshold: float,
    specificities: Sequence[float],
) -> LabelScores:
    """Compute all metrics of one label.

    Args:
        label: Name of the label.
        level: Level of the items, see `LabelScores`.
        probabilities: Probability of each item, (N,), with N >= 1.
        truth: Whether each item is positive, (N,).
        studies: Study of each item, (N,). Items of one study are resampled together, as they are not independent.
        threshold: Items are called positive from this probability on.
        specificities: Specificities, 0 to 1, at which the sensitivity is computed.
    """
    ranked = RankedItems(probabilities, truth)
    called = probabilities >= threshold
    points = ranked.points()
    whole = _figures(points, called, truth, np.ones(len(truth)), specificities)
    drawn = [
        _figures(ranked.points(weights), called, truth, weights, specificities) for weights in _resamples(studies)
    ]
    bins = calibration_bins(probabilities, truth)
    confusion = tuple(int((call & true).sum()) for call, true in _cells(called, truth))
    return LabelScores(
        label,
        level,
        len(truth),
        int(truth.sum()),
        threshold,
        {name: _measure(name, whole, drawn) for name in MEASURES},
        {
            wanted: (_measure(wanted, whole, drawn), points.sensitivity_at(wanted)[1] if points else None)
            for wanted in specificities
        },
        (confusion[0], confusion[1], confusion[2], confusion[3]),
        float(((probabilities - truth) ** 2).mean()),
        sum(item.count * abs(item.predicted - item.observed) for item in bins) / len(truth),
        tuple(bins),
        _band(whole.roc, [one.roc for one in drawn]),
        _band(whole.precisions, [one.precisions for one in drawn]),
        len(drawn),
    )


def calibration_bins(probabilities: Floats, truth: NDArray[np.bool_]) -> list[Bin]:
    """Tenths of the range 0 to 1 that have items."""
    place = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    found = []
    for number in range(BINS):
        inside = place == number
        count = int(inside.sum())
        if count:
            observed = float(truth[inside].mean())
            found.append(Bin(float(probabilities[inside].mean()), observed, *wilson(observed, count), count))
    return found


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion (Wilson, JASA 1927)."""
    z = 1.959964
    middle = share + z * z / (2 * count)
    reach = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    below = 1 + z * z / count
    return max(0.0, (middle - reach) / below), min(1.0, (middle + reach) / below)


def _cells(
    called: NDArray[np.bool_], truth: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    yield called, truth
    yield called, ~truth
    yield ~called, truth
    yield ~called, ~truth


def _figures(
    points: Points | None,
    called: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    weights: Floats,
    specificities: Sequence[float],
) -> _Figures:
    """Metrics that are defined for these weights."""
    numbers: dict[str | float, float] = {}
    hit, false, missed, right = (float(weights[call & true].sum()) for call, true in _cells(called, truth))
    for name, part, rest in (
        ("sensitivity", hit, missed),
        ("specificity", right, false),
        ("precision", hit, false),
        ("negative_value", right, missed),
    ):
        if part + rest > 0:
            numbers[name] = part / (part + rest)
    if points is None:
        return _Figures(numbers, None, None)
    numbers |= {"auc": points.auc(), "average_precision": points.average_precision()}
    numbers |= {wanted: points.sensitivity_at(wanted)[0] for wanted in specificities}
    roc = np.interp(GRID, points.false_rate, points.sensitivity)
    return _Figures(numbers, roc, points.precision_at(GRID))


def _resamples(studies: Sequence[str]) -> Iterator[Floats]:
    """Yield bootstrap weights of the items: how often the study of each was drawn. The same in every call."""
    _, place = np.unique(np.asarray(studies, str), return_inverse=True)
    count = int(place.max()) + 1
    if count < 2:
        return
    rng = np.random.default_rng(SEED)
    for _ in range(int(np.clip(WORK // len(place), FEWEST_RESAMPLES, RESAMPLES))):
        yield rng.multinomial(count, np.full(count, 1 / count))[place].astype(np.float64)


def _measure(name: str | float, whole: _Figures, drawn: Sequence[_Figures]) -> Measure:
    values = [one.numbers[name] for one in drawn if name in one.numbers]
    if name not in whole.numbers or not values:
        return Measure(whole.numbers.get(name))
    low, high = np.percentile(values, INTERVAL)
    return Measure(whole.numbers[name], float(low), float(high))


def _band(whole: Floats | None, drawn: Sequence[Floats | None]) -> Band | None:
    if whole is None:
        return None
    curves = [curve for curve in drawn if curve is not None]
    if not curves:
        return Band(whole, None, None)
    low, high = np.percentile(curves, INTERVAL, axis=0)
    return Band(whole, low, high)
