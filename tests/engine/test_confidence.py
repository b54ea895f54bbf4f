"""Confidence against the definition in float64, and where naive formulas give NaN."""

from __future__ import annotations

import numpy as np
import pytest

from itk_infer.engine.confidence import ConfidenceSum, binary_confidence, categorical_confidence
from itk_infer.engine.decision import Decision
from itk_infer.spec import Label, OutputSpec


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


def soft_dice(p, m):
    return 2 * np.sum(p * m) / (np.sum(p) + np.sum(m))


@pytest.mark.parametrize("values", ["logits", "probabilities"])
def test_soft_dice_and_expected_voxels_of_a_softmax(values):
    rng = np.random.default_rng(1)
    table = tuple(Label(value, f"label {value}", "#000000", channel) for value, channel in ((7, 3), (300, 1)))
    decision = Decision(OutputSpec(values=values, labels=table, background=(0, 2)), 4)
    total, p, m = ConfidenceSum(decision), [], []
    for depth in (1, 3):
        z = rng.normal(scale=3, size=(4, depth, 5, 6))
        given = (z if values == "logits" else softmax(z)).astype(np.float32)
        labels, masks = decision.decide(given)
        total.add(given, labels, masks)
        p.append(softmax(z))
        m.append(np.argmax(z, axis=0))
    p, m = np.concatenate(p, axis=1), np.concatenate(m)
    found = total.result()
    assert found.soft_dice == pytest.approx([soft_dice(p[c], m == c) for c in (3, 1)], abs=1e-5)
    assert found.expected == pytest.approx([p[c].sum() for c in (3, 1)], rel=1e-5)


@pytest.mark.parametrize("values", ["logits", "probabilities"])
def test_soft_dice_and_expected_voxels_of_sigmoids(values):
    rng = np.random.default_rng(2)
    decision = Decision(OutputSpec(values=values, decision="threshold", threshold=0.3), 3)
    z = rng.normal(scale=3, size=(3, 4, 5, 6))
    p = 1 / (1 + np.exp(-z))
    given = (z if values == "logits" else p).astype(np.float32)
    total = ConfidenceSum(decision)
    for planes in (slice(0, 1), slice(1, 4)):
        total.add(given[:, planes], *decision.decide(given[:, planes]))
    found = total.result()
    assert found.soft_dice == pytest.approx([soft_dice(own, own > 0.3) for own in p], abs=1e-5)
    assert found.expected == pytest.approx(p.sum(axis=(1, 2, 3)), rel=1e-5)
    sure = 1 - entropy(np.stack([p, 1 - p])) / np.log(2)
    assert found.overall == pytest.approx(sure.mean(), abs=1e-5)
    assert found.foreground == pytest.approx(sure.mean(axis=0)[(p > 0.3).any(axis=0)].mean(), abs=1e-5)
    assert found.per_label == pytest.approx([own[q > 0.3].mean() for own, q in zip(sure, p)], abs=1e-5)


def test_a_label_that_was_not_found_has_no_soft_dice():
    decision = Decision(OutputSpec(), 2)
    values = np.zeros((2, 1, 1, 4), np.float32)
    values[0] = np.log(3)
    total = ConfidenceSum(decision)
    total.add(values, *decision.decide(values))
    assert total.result().soft_dice == (None,)
    assert total.result().expected == pytest.approx((1.0,))


def test_certain_labels_have_a_soft_dice_of_one():
    decision = Decision(OutputSpec(), 2)
    values = np.zeros((2, 1, 1, 2), np.float32)
    values[1, ..., 0], values[0, ..., 1] = 3e38, 3e38
    total = ConfidenceSum(decision)
    total.add(values, *decision.decide(values))
    assert total.result().soft_dice == (1.0,)
