"""A calibration: isotonic regression, conformal quantiles, and the share of cases that the bounds hold for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from itk_infer.errors import ConfigError
from itk_infer.evaluate.calibrate import ScoredCase, calibrate, conformal_quantile, fewest_errors, isotonic


def some_cases(count, seed=0):
    rng = np.random.default_rng(seed)
    scores = rng.random(count)
    dices = np.clip(0.4 + 0.6 * scores**2 + rng.normal(0, 0.05, count), 0, 1)
    return [
        ScoredCase(f"case {i}", float(s), float(d), {"liver": 10 * float(s)})
        for i, (s, d) in enumerate(zip(scores, dices))
    ]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=40))
def test_the_fit_is_that_of_scipy(numbers):
    dice = np.array(numbers) / 20
    knots, fitted = isotonic(np.arange(len(dice), dtype=float), dice)
    np.testing.assert_allclose(fitted, isotonic_regression(dice).x, atol=1e-12)
    assert len(knots) == len(dice)


def test_equal_scores_share_a_value():
    knots, fitted = isotonic(np.array([1.0, 1.0, 2.0]), np.array([0.2, 0.4, 0.25]))
    assert (knots.tolist(), fitted.tolist()) == ([1.0, 2.0], pytest.approx([0.2833333] * 2))


def test_quantiles_by_hand():
    errors = np.arange(9.0)[::-1]
    assert conformal_quantile(errors, 0.9) == 8  # ceil(10 * 0.9) = 9th of 9
    assert conformal_quantile(errors, 0.5) == 4
    assert [fewest_errors(c) for c in (0.5, 0.9, 0.95)] == [1, 9, 19]


@pytest.mark.parametrize(("count", "coverage", "needed"), [(19, 0.9, 20), (37, 0.95, 38), (19, 0.5, 20)])
def test_too_few_cases_are_refused(count, coverage, needed):
    with pytest.raises(ConfigError, match=f"{count} cases are too few to calibrate: .* needs {needed} with truth"):
        calibrate(some_cases(count), model="m", score="s", coverage=coverage)
    assert calibrate(some_cases(needed), model="m", score="s", coverage=coverage).cases == needed


def test_bounds_hold_for_new_cases():
    held = []
    for seed in range(40):
        made = calibrate(some_cases(60, seed), model="m", score="s", coverage=0.9)
        new = some_cases(200, 1000 + seed)
        held.append(np.mean([made.expected(case.score) - made.below <= case.dice for case in new]))
    assert 0.88 <= np.mean(held) <= 0.96


def test_ranges_and_names():
    cases = some_cases(30)
    made = calibrate(cases[::-1], model="m", score="s", limit=0.7)
    assert made == calibrate(cases, model="m", score="s", limit=0.7)  # the order of cases does not matter
    assert made.score_range.low == min(case.score for case in cases)
    assert made.volumes_ml["liver"].high == pytest.approx(10 * made.score_range.high)
    assert (made.limit, made.coverage, made.cases, made.score) == (0.7, 0.9, 30, "s")
    assert made.expected(-1) == made.dice[0]
