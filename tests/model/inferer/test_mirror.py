"""Mirroring averages what it must, and is refused where left is not right."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.errors import ConfigError
from itk_infer.model.inferer.mirror import Mirrored
from itk_infer.model.inferer.skip_empty import EmptyWindowSkipper
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.predictor import Predictor
from itk_infer.spec import parse_spec


def test_the_mean_over_all_mirrorings_turned_back():
    ramp = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    mirrored = Mirrored(lambda w: w * ramp, (0, 2))
    x = np.random.default_rng(0).normal(size=(2, 1, 2, 3, 4)).astype(np.float32)
    # w * ramp on a mirrored window, turned back, is w times the mirrored ramp.
    ramps = [ramp, ramp[::-1], ramp[:, :, ::-1], ramp[::-1, :, ::-1]]
    np.testing.assert_allclose(mirrored(x), x * np.mean(ramps, axis=0), rtol=1e-5)


def test_a_model_that_allows_none_refuses():
    with pytest.raises(ConfigError, match="left is not right"):
        Predictor(FakeBackend(), tta=True)


def test_a_predictor_with_tta():
    seen = []

    def network(windows):
        seen.append(len(windows))
        return np.concatenate([-windows, windows], axis=1)

    spec = parse_spec({"window": {"mirror_axes": [0, 1, 2]}}, "t")
    array = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    result = Predictor(FakeBackend(network, spec), tta=True, orientation="input")(sitk.GetImageFromArray(array))
    assert seen == [8]
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result.labels), array > 0)


def skipping(array, **options):
    calls = []

    def network(windows):
        calls.append(len(windows))
        return np.concatenate([0.5 - windows, windows - 0.5], axis=1)

    spec = parse_spec({"window": {"patch_size": [4, 4, 4], "patch_stride": [4, 4, 4]}}, "t")
    predictor = Predictor(FakeBackend(network, spec), orientation="input", **options)
    result = predictor(sitk.GetImageFromArray(array))
    return sitk.GetArrayFromImage(result.labels), sum(calls), result.measurements.warnings


def test_constant_windows_are_run_once_and_nothing_changes():
    array = np.zeros((8, 8, 8), np.float32)
    array[:4, :4, :4] = np.random.default_rng(0).uniform(0, 1, (4, 4, 4))
    plain, runs, warnings = skipping(array)
    assert (runs, warnings) == (8, ())
    labels, runs, warnings = skipping(array, skip_empty=True)
    np.testing.assert_array_equal(labels, plain)
    assert runs == 2
    assert warnings == ("6 of 8 windows were empty and not run",)


def test_a_value_makes_faint_windows_empty_too():
    array = np.random.default_rng(0).uniform(0, 0.1, (8, 8, 8)).astype(np.float32)
    array[:4, :4, :4] += 0.9
    labels, runs, _ = skipping(array, skip_empty=0.2)
    np.testing.assert_array_equal(labels, array > 0.5)
    assert runs == 2


def test_batches_with_some_empty_windows_keep_their_order():
    skipper = EmptyWindowSkipper(lambda w: w * 2, 0.0)
    x = np.random.default_rng(0).normal(size=(4, 1, 2, 2, 2)).astype(np.float32)
    x[1], x[3] = 5, 5
    np.testing.assert_array_equal(skipper(x), x * 2)
    assert skipper.skipped == 1


def labels_and_identity(document, **options):
    """Labels of an image that mirroring changes, and what the ledger would record."""
    spec = parse_spec({"window": {"patch_size": [4, 4, 4], **document}, "input": {"orientation": None}}, "test")

    def network(windows):
        ramp = np.arange(4, dtype=np.float32) - 1  # mirrored, every voxel gets the mean 0.5
        return np.concatenate([np.zeros_like(windows), np.broadcast_to(ramp, windows.shape)], axis=1)

    predictor = Predictor(FakeBackend(network, spec), orientation="input", **options)
    result = predictor(sitk.GetImageFromArray(np.zeros((4, 4, 4), np.uint8)))
    return int(sitk.GetArrayFromImage(result.labels).sum()), predictor.identity


def test_a_model_may_mirror_without_being_asked():
    """Unset: what the model says. Either way, what is recorded is whether windows were mirrored."""
    allowed, by_itself = {"mirror_axes": [2]}, {"mirror_axes": [2], "mirror": True}
    plain, recorded = labels_and_identity(allowed)
    mirrored, recorded_mirrored = labels_and_identity(allowed, tta=True)
    assert (plain, mirrored) == (32, 64)
    assert labels_and_identity(by_itself) == (mirrored, recorded_mirrored)
    assert labels_and_identity(by_itself, tta=False) == (plain, recorded)
    assert labels_and_identity(allowed, tta=False) == (plain, recorded)


def test_what_mirroring_costs_is_said_where_nobody_asked_for_it():
    spec = parse_spec({"window": {"mirror_axes": [0, 1, 2], "mirror": True}}, "test")
    said = "mirroring along 3 axes runs each window 8 times; `tta=False` turns it off"
    assert said in Predictor(FakeBackend(spec=spec)).notes
    assert said not in Predictor(FakeBackend(spec=spec), tta=True).notes
    assert said not in Predictor(FakeBackend(spec=spec), tta=False).notes
