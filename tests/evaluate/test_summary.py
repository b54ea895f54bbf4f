"""Means over cases: misses stay in, and are counted where they cannot."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from itk_infer.evaluate.scores import CaseScores, LabelScores, LesionCounts, absent, completed
from itk_infer.evaluate.summary import RESAMPLES, interval, summarise

INF = math.inf


def label(dice=0.8, hd95=2.0, name="liver", mask_ml=1.0, truth_ml=1.0, lesions=None):
    return LabelScores(
        name, 1, 1, "value", mask_ml, truth_ml, 2.0, dice, dice, dice, dice, hd95, hd95, dice, hd95, lesions
    )


MISSED = label(0.0, INF, mask_ml=0.0)


def cases(*labels, diagonal=50.0):
    return completed([CaseScores(f"case {i}", (item,) if item else (), diagonal) for i, item in enumerate(labels)])


def test_a_miss_lowers_the_mean_of_dice_and_is_counted_at_distances():
    (found,) = summarise(cases(label(0.8, 2.0), label(0.6, 4.0), MISSED))
    assert found.states == {"found": 2, "missed": 1, "false alarm": 0, "absent": 0}
    dice, hd95 = found.metric("dice"), found.metric("hd95")
    assert (dice.mean, dice.count, dice.of) == (pytest.approx(1.4 / 3), 3, 3)
    assert (hd95.mean, hd95.count, hd95.of, hd95.median) == (3.0, 2, 3, 4.0)
    assert hd95.words == "mean over 2 found of 3"
    assert hd95.penalised == pytest.approx((2 + 4 + 50) / 3)
    assert dice.words == "mean over 3"


def test_a_label_that_a_case_lacks_is_absent_and_counts_nowhere():
    every = cases(label(), None)
    assert every[1].labels == (absent("liver", 2.0),)
    (found,) = summarise(every)
    assert found.states["absent"] == 1
    assert (found.metric("dice").of, found.metric("dice").mean) == (1, 0.8)


def test_all_missed():
    hd95 = summarise(cases(MISSED, MISSED))[0].metric("hd95")
    assert (hd95.mean, hd95.median, hd95.penalised, hd95.low) == (None, INF, 50.0, None)


def test_nothing_applies():
    metric = summarise(cases(absent("liver", 2.0)))[0].metric("dice")
    assert (metric.mean, metric.median, metric.of, metric.penalised) == (None, None, 0, None)
    assert summarise([]) == []


def test_lesions_are_added():
    counted = [label(lesions=LesionCounts(3, 2, 1)), label(lesions=LesionCounts(1, 1, 1))]
    assert summarise(cases(*counted))[0].lesions == (4, 3, 2)
    assert summarise(cases(label()))[0].lesions is None


def test_the_interval_is_that_of_scipy():
    values = np.random.default_rng(1).beta(8, 2, 25)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=3)
    assert interval(values) == pytest.approx(tuple(theirs.confidence_interval), abs=0.01)
    assert interval(values) == interval(values)
    assert interval(values[:1]) == (None, None)


def test_infinite_values_are_left_out_of_resampled_means():
    values = np.array([1.0, 2.0, 3.0, INF])
    low, high = interval(values)
    assert 1.0 <= low < 2.0 < high <= 3.0


def test_thousands_of_cases_take_little_memory():
    values = np.random.default_rng(2).random(6000)
    low, high = interval(values)
    spread = 1.96 * values.std() / math.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - spread, values.mean() + spread), abs=0.003)
