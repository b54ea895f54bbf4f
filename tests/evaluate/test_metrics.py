"""All metrics of one case; the rules where a mask is empty."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itk_infer.evaluate.label_match import LabelPair
from itk_infer.evaluate.metrics import MetricSettings, label_scores
from itk_infer.evaluate.overlap import joint_counts

KEYS = ("dice", "hd", "hd95", "nsd", "assd")


def scores(mask, truth, values=(1,), spacing=(1.0, 1.0, 1.0), **settings):
    pairs = [LabelPair(f"label {value}", value, value, "value") for value in values]
    counts = joint_counts(mask, truth)
    found = label_scores(mask, truth, counts, pairs, spacing, MetricSettings(**settings))
    return found[0] if len(values) == 1 else found


def box(*corners, value=1, shape=(10, 10, 10)):
    array = np.zeros(shape, np.uint8)
    for low, high in corners:
        array[tuple(slice(a, b) for a, b in zip(low, high))] = value
    return array


EMPTY, SOME = box(), box(((2, 2, 2), (5, 6, 7)))


def test_known_answers_of_all_labels(known, known_pair):
    for name, entry in known["metrics"].items():
        mask, truth = known_pair(name)
        values = [int(value) for value in entry["labels"]]
        spacing = tuple(entry["spacing_zyx"])
        found = scores(mask, truth, (*values, 99), spacing, tolerance_mm=entry["tolerance_mm"])
        for label, answers in zip(found, entry["labels"].values()):
            for key in KEYS:
                expected = float(answers[key]) if isinstance(answers[key], str) else answers[key]
                measured = getattr(label, key)
                assert measured is None if expected is None else measured == pytest.approx(expected, abs=2e-5)
            assert label.truth_ml == pytest.approx(answers["voxels_truth"] * math.prod(spacing) / 1000)
            assert label.mask_ml == pytest.approx(answers["voxels_prediction"] * math.prod(spacing) / 1000)


def test_a_miss_is_the_worst_of_all():
    label = scores(EMPTY, SOME)
    assert label.state == "missed"
    assert (label.dice, label.iou, label.sensitivity, label.nsd, label.precision) == (0, 0, 0, 0, None)
    assert (label.hd, label.hd95, label.assd) == (math.inf,) * 3
    assert label.volume_error == -1


def test_a_false_alarm_is_as_bad():
    label = scores(SOME, EMPTY)
    assert label.state == "false alarm"
    assert (label.dice, label.iou, label.precision, label.nsd, label.sensitivity) == (0, 0, 0, 0, None)
    assert (label.hd, label.hd95, label.assd) == (math.inf,) * 3
    assert (label.volume_error, label.volume_error_ml) == (None, pytest.approx(0.06))


def test_what_is_in_neither_does_not_apply():
    label = scores(EMPTY, EMPTY)
    assert label.state == "absent"
    keys = (*KEYS, "iou", "sensitivity", "precision", "volume_error_ml", "volume_error")
    assert [getattr(label, key) for key in keys] == [None] * 10


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_overlap_is_that_of_simpleitk(seed):
    import SimpleITK as sitk

    rng = np.random.default_rng(seed)
    mask, truth = (rng.integers(0, 3, (6, 5, 7)).astype(np.uint8) for _ in range(2))
    filtered = sitk.LabelOverlapMeasuresImageFilter()
    filtered.Execute(sitk.GetImageFromArray(mask), sitk.GetImageFromArray(truth))
    for label in scores(mask, truth, (1, 2)):
        value = label.mask_value
        assert label.dice == pytest.approx(filtered.GetDiceCoefficient(value))
        assert label.iou == pytest.approx(filtered.GetJaccardCoefficient(value))
        assert 1 - label.sensitivity == pytest.approx(filtered.GetFalseNegativeError(value))
        assert label.precision == pytest.approx(np.mean(truth[mask == value] == value))


def test_tolerances_by_label():
    mask, truth = SOME, np.roll(SOME, 1, axis=0)
    pairs = [LabelPair("liver", 1, 1, "value", 0.5)]
    counts = joint_counts(mask, truth)

    def nsd(**settings):
        (label,) = label_scores(mask, truth, counts, pairs, (1.0, 1.0, 1.0), MetricSettings(**settings))
        return label.tolerance_mm, label.nsd

    assert nsd() == (0.5, nsd(tolerances=(("liver", 0.9),))[1])  # the table's, above the general one
    assert nsd(tolerances=(("liver", 1.0),)) == (1.0, 1.0)


def test_an_organ_that_fills_the_image_has_no_surface_with_an_open_border():
    full = np.ones((4, 4, 4), np.uint8)
    label = scores(full, full, open_border=True)
    assert (label.dice, label.hd95, label.nsd) == (1.0, None, None)
    label = scores(full, box(((1, 1, 1), (3, 3, 3)), shape=(4, 4, 4)), open_border=True)
    assert (label.hd95, label.nsd) == (math.inf, 0.0)
    assert scores(full, full).hd95 == 0


def test_lesions_are_matched_one_to_one():
    truth = box(((0, 0, 0), (3, 3, 3)), ((6, 6, 6), (9, 9, 9)), ((0, 6, 6), (2, 8, 8)))
    mask = box(((0, 0, 0), (3, 3, 3)), ((6, 6, 6), (9, 9, 7)), ((6, 0, 0), (8, 2, 2)))
    lesions = scores(mask, truth, lesions=True).lesions
    assert (lesions.truth, lesions.mask, lesions.matched) == (3, 3, 2)
    assert (lesions.sensitivity, lesions.f1) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    absent = scores(EMPTY, EMPTY, lesions=True).lesions
    assert (absent.truth, absent.sensitivity, absent.f1) == (0, None, None)
    assert scores(SOME, EMPTY, lesions=True).lesions.matched == 0


def test_a_component_over_two_lesions_matches_the_nearer_one():
    truth = box(((0, 0, 0), (4, 4, 4)), ((6, 0, 0), (8, 4, 4)))
    mask = box(((0, 0, 0), (8, 4, 4)))
    lesions = scores(mask, truth, lesions=True).lesions
    assert (lesions.truth, lesions.mask, lesions.matched) == (2, 1, 1)


def test_little_overlap_is_no_match():
    truth, mask = box(((0, 0, 0), (4, 4, 4))), box(((3, 3, 3), (9, 9, 9)))
    assert scores(mask, truth, lesions=True).lesions.matched == 0
