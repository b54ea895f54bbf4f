"""Dice at 1,000 thresholds from a histogram."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.evaluate.thresholds import THRESHOLDS, Histogram, LabelCurves, choose, warnings_of


def histogram(probability, truth):
    found = Histogram()
    found.add(np.asarray(probability, np.float32), np.asarray(truth, bool))
    return found


def test_known_answers(shared, known):
    folder = shared / "metrics"
    probability, truth = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"threshold_{name}.nii.gz")))
        for name in ("probability", "truth")
    )
    expected = known["threshold"]
    dice = histogram(probability, truth == expected["label"]).dice()
    at = {text: dice[round(float(text) * 1000) - 1] for text in expected["dice"]}
    assert at == pytest.approx(expected["dice"], abs=6e-6)
    assert choose(dice).threshold == expected["best_of_0_001_to_1"]


def test_dice_is_that_of_masks():
    rng = np.random.default_rng(0)
    truth = rng.random(5000) < 0.3
    probability = np.clip(truth * 0.4 + rng.random(5000) * 0.6, 0, 1).astype(np.float32)
    dice = histogram(probability, truth).dice()
    for index in range(0, 1000, 37):
        mask = probability >= THRESHOLDS[index] - 1e-6
        assert dice[index] == pytest.approx(2 * np.sum(mask & truth) / (mask.sum() + truth.sum()))


def test_every_multiple_of_a_thousandth_is_at_its_threshold():
    for steps in range(1, 1001):
        above = histogram([np.float32(steps / 1000)], [True]).above()[1]
        assert above.sum() == steps, steps


def test_the_plateau_is_the_run_around_the_best():
    curve = np.full(1000, 0.5)
    curve[300:400], curve[350], curve[600:700] = 0.9, 0.9015, 0.9
    choice = choose(curve)
    assert (choice.threshold, choice.dice, choice.low, choice.high) == (0.351, 0.9015, 0.301, 0.4)
    assert choose(np.full(1000, np.nan)) is None


def test_cases_are_averaged_where_dice_applies():
    curves = LabelCurves("liver")
    curves.add("a", histogram([0.9, 0.2], [True, False]))
    curves.add("empty", histogram([0.5], [False]))
    mean = curves.mean_dice()
    assert mean[THRESHOLDS == 0.1] == pytest.approx((2 / 3 + 0) / 2)
    assert mean[THRESHOLDS == 0.5] == pytest.approx((1 + 0) / 2)
    assert mean[THRESHOLDS == 0.6] == 1  # the empty case has neither mask nor truth there
    assert curves.best == {"a": 0.201}
    assert curves.pooled.counts.sum() == 3


def test_few_cases_and_narrow_plateaus_are_warned_about():
    curves = LabelCurves("liver")
    curves.add("a", histogram([0.52, 0.48], [True, False]))
    sentences = warnings_of(curves, choose(curves.mean_dice()))
    assert "only 1 cases" in sentences[0]
    assert "the plateau is narrow (0.481 to 0.52)" in sentences[1]
    wide = LabelCurves("liver", best=dict.fromkeys(map(str, range(10)), 0.5))
    assert warnings_of(wide, choose(np.ones(1000))) == []


def test_otsu_is_that_of_simpleitk():
    rng = np.random.default_rng(4)
    values = (
        np.concatenate([rng.normal(0.2, 0.05, 6000), rng.normal(0.7, 0.1, 2000)]).clip(0, 1).astype(np.float32)
    )
    filtered = sitk.OtsuThresholdImageFilter()
    filtered.SetNumberOfHistogramBins(1000)
    filtered.Execute(sitk.GetImageFromArray(values[None, None]))
    assert histogram(values, values > 2).otsu() == pytest.approx(filtered.GetThreshold(), abs=0.01)


def test_otsu_of_two_peaks_lies_between_them():
    assert 0.3 < histogram([0.1] * 5 + [0.9] * 5, [False] * 10).otsu() < 0.7
