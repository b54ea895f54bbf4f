"""Confidence against the definition in float64, and where naive formulas give NaN."""

from __future__ import annotations

import numpy as np
import pytest

from itk_infer.engine.confidence import ConfidenceSum, binary_confidence, categorical_confidence
from itk_infer.engine.decision import Decision
from itk_infer.spec import OutputSpec


def entropy(p):
    return -np.sum(np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0), axis=0)


def softmax(z):
    e = np.exp(z - z.max(axis=0))
    return e / e.sum(axis=0)


def test_categorical_equals_the_definition():
    z = np.random.default_rng(0).normal(scale=4, size=(5, 3, 4, 2))
    expected = 1 - entropy(softmax(z)) / np.log(5)
    np.testing.assert_allclose(categorical_confidence(z.astype(np.float32), False), expected, atol=1e-5)
    np.testing.assert_allclose(categorical_confidence(softmax(z).astype(np.float32), True), expected, atol=1e-5)


def test_binary_equals_the_definition():
    z = np.random.default_rng(0).normal(scale=4, size=(2, 3, 4, 2))
    p = 1 / (1 + np.exp(-z))
    expected = 1 - entropy(np.stack([p, 1 - p])) / np.log(2)
    np.testing.assert_allclose(binary_confidence(z.astype(np.float32), False), expected, atol=1e-5)
    np.testing.assert_allclose(binary_confidence(p.astype(np.float32), True), expected, atol=1e-5)


@pytest.mark.parametrize("gap", [0, 17.4, 100, 3e4, 3e38])
def test_extreme_logits_give_finite_confidence(gap):
    values = np.array([[[[0.0]]], [[[gap]]], [[[-gap]]]], np.float32)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        sure = categorical_confidence(values, False)
        both = binary_confidence(values, False)
    assert np.isfinite(sure).all()
    assert np.isfinite(both).all()
    assert sure.item() == pytest.approx(0 if gap == 0 else 1, abs=1e-5)


def test_hard_probabilities_and_empty_ones():
    values = np.array([[1.0, 0.0, 0.5], [0.0, 0.0, 0.5]], np.float32)[:, None, None]
    sure = categorical_confidence(values, True).ravel()
    assert sure.tolist() == pytest.approx([1, 0, 0], abs=1e-6)


def test_means_over_all_foreground_and_each_label():
    decision = Decision(OutputSpec(), 3)
    values = np.zeros((3, 1, 1, 4), np.float32)
    values[0, ..., 0] = 50  # certain background
    values[1, ..., 1] = 50  # certain label 1
    values[2, ..., 2] = 50  # certain label 2
    values[2, ..., 3] = 1e-6  # label 2 by a hair: confidence 0
    total = ConfidenceSum(decision)
    total.add(values, *decision.decide(values))
    found = total.result()
    assert found.overall == pytest.approx(3 / 4, abs=1e-5)
    assert found.foreground == pytest.approx(2 / 3, abs=1e-5)
    assert found.per_label == pytest.approx((1, 0.5), abs=1e-5)


def test_absent_labels_have_no_confidence():
    decision = Decision(OutputSpec(), 3)
    values = np.zeros((3, 1, 1, 1), np.float32)
    values[0] = 9
    total = ConfidenceSum(decision)
    total.add(values, *decision.decide(values))
    assert total.result().foreground is None
    assert total.result().per_label == (None, None)
