"""A calibration: isotonic regression, conformal quantiles, and the share of cases that the bounds hold for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression
from scipy.stats import beta, binom

from itk_infer.errors import ConfigError
from itk_infer.evaluate.calibrate import (
    ScoredCase,
    accept_from,
    binomial_tail,
    calibrate,
    conformal_quantile,
    fewest_accepted,
    fewest_errors,
    isotonic,
)


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


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 3000), st.floats(0, 1), st.floats(0.001, 0.999))
def test_the_binomial_distribution_is_that_of_scipy(trials, part, share):
    most = int(part * trials)
    assert binomial_tail(most, trials, share) == pytest.approx(binom.cdf(most, trials, share), rel=1e-8, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=120),
    st.sampled_from([0.02, 0.05, 0.1, 0.3]),
    st.sampled_from([0.8, 0.9, 0.95]),
)
def test_every_score_from_there_on_is_good_by_the_upper_bound_of_clopper_and_pearson(cases, share, confidence):
    scores, failed = np.array([c[0] for c in cases], float), np.array([c[1] for c in cases])

    def bound(score):
        n, k = np.count_nonzero(scores >= score), np.count_nonzero(failed[scores >= score])
        return 1.0 if n == k else beta.ppf(confidence, k + 1, n - k)

    found = accept_from(scores, failed, share, confidence)
    fewest = fewest_accepted(share, confidence)
    tested = [score for score in np.unique(scores)[::-1] if np.count_nonzero(scores >= score) >= fewest]
    good = [bound(score) <= share + 1e-9 for score in tested]
    run = good.index(False) if False in good else len(good)
    assert found == (tested[run - 1] if run else None)


def test_fewest_accepted():
    assert [fewest_accepted(share, 0.9) for share in (0.02, 0.05, 0.1)] == [114, 45, 22]
    good = np.zeros(45, bool)
    assert accept_from(np.arange(45.0), good, 0.05, 0.9) == 0
    assert accept_from(np.arange(44.0), good[:44], 0.05, 0.9) is None


@pytest.mark.parametrize("limit", [0.45, 0.6])
def test_the_promise_holds_for_new_cases(limit):
    """In at least 90 % of calibrations, at most 5 % of what is accepted fails."""
    broken, accepted = 0, 0.0
    new = some_cases(20_000, 999)
    scores, failed = np.array([case.score for case in new]), np.array([case.dice < limit for case in new])
    for seed in range(200):
        known = some_cases(200, seed)
        found = accept_from(
            np.array([case.score for case in known]), np.array([case.dice < limit for case in known]), 0.05, 0.9
        )
        if found is not None:
            broken += failed[scores >= found].mean() > 0.05
            accepted += (scores >= found).mean() / 200
    assert broken <= 200 * 0.1 + 13  # three standard deviations
    assert accepted > 0.5 * (~failed).mean()
