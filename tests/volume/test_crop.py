"""Cropping to the foreground gives the same labels inside, background outside, and saves windows."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.errors import ConfigError
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.predictor import Predictor
from itk_infer.spec import parse_spec
from itk_infer.volume.crop import foreground_crop
from itk_infer.volume.interpolation import ModelGrid, axis_map


def body():
    array = np.zeros((20, 24, 28), np.float32)
    array[6:12, 3:9, 20:28] = np.random.default_rng(0).uniform(1, 2, (6, 6, 8))
    return array


def scan(array, spacing=(1, 1, 1)):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    return image


def run(array, spacing=(1, 1, 1), decision="argmax", **options):
    calls = []

    def network(windows):
        calls.append(len(windows))
        return np.concatenate([1.5 - windows, windows - 1.5], axis=1)

    document = {"window": {"patch_size": [4, 4, 4]}, "input": {"orientation": None, "spacing": [1, 1, 1]}}
    document["output"] = {"decision": decision}
    predictor = Predictor(FakeBackend(network, parse_spec(document, "t")), orientation="input", **options)
    result = predictor(scan(array, spacing))
    return sitk.GetArrayFromImage(result.labels), sum(calls), result.measurements.warnings


def test_the_same_labels_with_fewer_windows():
    whole, windows, _ = run(body())
    cropped, fewer, warnings = run(body(), crop_foreground=0.5)
    np.testing.assert_array_equal(cropped, whole)
    assert fewer < windows / 10
    assert any(f"{windows - fewer} of {windows} windows saved" in text for text in warnings)


@pytest.mark.parametrize("spacing", [(0.5, 0.7, 2.0), (2, 2, 2)])
def test_on_another_grid_the_inside_is_the_same(spacing):
    array = np.kron(body(), np.ones((2, 2, 2), np.float32))
    whole, _, _ = run(array, spacing)
    cropped, _, _ = run(array, spacing, crop_foreground=0.5)
    assert cropped.shape == whole.shape
    # Interpolation at the box's faces has nothing outside to lean on.
    assert np.mean(cropped == whole) > 0.995
    assert np.count_nonzero(cropped) == pytest.approx(np.count_nonzero(whole), rel=0.1)


def test_masks_of_threshold_models_too():
    whole, _, _ = run(body(), decision="threshold")
    cropped, _, _ = run(body(), decision="threshold", crop_foreground=0.5)
    inside = np.zeros(whole.shape, bool)
    inside[6:12, 3:9, 20:28] = True
    np.testing.assert_array_equal(cropped[inside], whole[inside])
    assert not cropped[~inside].any()


def test_nothing_above_or_everything_is_no_crop():
    grid = ModelGrid(tuple(axis_map(n, n, 1.0, "center") for n in (4, 5, 6)))
    assert foreground_crop(np.zeros((4, 5, 6), bool), grid) is None
    assert foreground_crop(np.ones((4, 5, 6), bool), grid) is None


def test_a_model_that_crops_itself_takes_no_other_crop():
    spec = parse_spec({"input": {"crop": {"to": "above", "after": "intensity"}}}, "t")
    with pytest.raises(ConfigError, match="`crop_foreground`: this model's spec crops"):
        Predictor(FakeBackend(None, spec), crop_foreground=0.5)


@pytest.mark.parametrize("decision", ["threshold", "argmax"])
def test_a_spec_that_crops_after_the_intensities(decision):
    """Outside is background, whatever the network would answer there; the box is that of the values it sees."""
    seen = []

    def network(windows):
        seen.append(windows)
        return np.concatenate([0 * windows - 1, 0 * windows + 1], axis=1)

    crop = {"to": "above", "value": 0.5, "margin": 1, "after": "intensity"}
    window = {"op": "window", "level": 1, "width": 2}
    document = {
        "input": {"orientation": None, "crop": crop, "intensity": [window]},
        "output": {"decision": decision},
    }
    predictor = Predictor(FakeBackend(network, parse_spec(document, "t")), orientation="input")
    result = predictor(scan(body()))
    expected = np.zeros((20, 24, 28), bool)
    expected[5:13, 2:10, 19:28] = True
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result.labels) > 0, expected)
    assert seen[0].shape == (1, 1, 8, 8, 9)
    assert not [text for text in result.measurements.warnings if "cropped" in text]
