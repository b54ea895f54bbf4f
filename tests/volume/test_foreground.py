"""The foreground, its box and its filled holes, against SciPy; images of which only that part is used."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.predictor import Predictor
from itk_infer.run.folder import run_folder
from itk_infer.run.settings import RunSettings
from itk_infer.spec import parse_spec
from itk_infer.spec.model_spec import CropRule
from itk_infer.volume.foreground import box_around, filled, foreground

masks = arrays(np.bool_, st.tuples(*[st.integers(1, 7)] * 3), elements=st.booleans())


@given(masks)
@settings(max_examples=60)
def test_filled_is_scipys(mask):
    np.testing.assert_array_equal(filled(mask), ndimage.binary_fill_holes(mask))


@given(masks, st.integers(0, 3))
def test_the_box_is_scipys_with_a_margin(mask, margin):
    box = box_around(mask, margin)
    if not mask.any():
        assert box is None
        return
    (expected,) = ndimage.find_objects(mask.astype(int))
    wider = tuple(
        slice(max(0, side.start - margin), min(size, side.stop + margin))
        for side, size in zip(expected, mask.shape, strict=True)
    )
    assert box == wider


def test_any_channel_counts():
    voxels = np.zeros((2, 2, 3, 4), np.int16)
    voxels[0, 1, 0, 0], voxels[1, 0, 2, 3] = -5, 7
    assert np.argwhere(foreground(voxels, CropRule())).tolist() == [[0, 2, 3], [1, 0, 0]]
    assert np.argwhere(foreground(voxels, CropRule("above", 3.0))).tolist() == [[0, 2, 3]]


def predictor_for(document, network=None, **options):
    network = network or (lambda windows: np.concatenate([1.5 - windows, windows - 1.5], axis=1))
    window = {"patch_size": [4, 4, 4]}
    spec = parse_spec({"window": window, **document}, "test")
    return Predictor(FakeBackend(network, spec), orientation="input", **options)


def body(offset=0.0):
    array = np.zeros((14, 15, 16), np.float32)
    array[3:9, 4:10, 5:12] = np.random.default_rng(0).uniform(1, 2, (6, 6, 7)) + offset
    return array


def test_only_the_box_is_run_and_the_rest_is_background():
    seen = []

    def network(windows):
        seen.append(windows.copy())
        return np.concatenate([windows * 0, windows * 0 + 1], axis=1)

    document = {"input": {"orientation": None, "crop": {"to": "nonzero", "margin": 1}}}
    result = predictor_for(document, network)(sitk.GetImageFromArray(body()))
    labels = sitk.GetArrayFromImage(result.labels)
    expected = np.zeros((14, 15, 16), np.uint8)
    expected[2:10, 3:11, 4:13] = 1
    np.testing.assert_array_equal(labels, expected)
    assert result.measurements.labels[0].voxels == expected.sum()
    assert len(seen) == 3 * 3 * 4


@pytest.mark.parametrize("spacing", [None, [1.5, 0.7, 1.0]])
@pytest.mark.parametrize("orientation", [None, "RAS"])
def test_zscore_within_the_filled_mask(spacing, orientation):
    """Statistics are those of the filled body, and air stays 0."""
    array = body(10)
    array[5:7, 6:8, 7:9] = 0  # a hole
    seen = []

    def network(windows):
        seen.append(windows.copy())
        return np.concatenate([windows, -windows], axis=1)

    intensity = [{"op": "zscore", "mask": "crop", "outside": "keep"}]
    resampling = {"alignment": "edge", "order": "after_intensity", "interpolation": "nearest"}
    inputs = {"orientation": orientation, "crop": {"to": "nonzero", "margin": 2}, "intensity": intensity}
    document = {
        "input": {**inputs, "spacing": spacing, "resampling": resampling},
        "window": {"patch_size": [40, 40, 40]},
    }
    predictor_for(document, network)(sitk.GetImageFromArray(array))
    inside = ndimage.binary_fill_holes(array != 0)
    values = array[inside].astype(np.float64)
    scaled = (values - values.mean()) / values.std()
    found = np.unique(seen[0].round(4))
    expected = np.unique(np.append(scaled, 0.0).astype(np.float32).round(4))
    assert set(found) <= set(expected)
    assert len(found) > 0.9 * len(expected) if spacing is None else len(found) > 20


def test_nonzero_voxels_may_be_scaled_alone():
    """As MONAI's NormalizeIntensity(nonzero=True)."""
    array = body()
    seen = []

    def network(windows):
        seen.append(windows.copy())
        return np.concatenate([windows, -windows], axis=1)

    intensity = [{"op": "zscore", "mask": "nonzero", "outside": "keep"}]
    document = {"input": {"orientation": None, "intensity": intensity}, "window": {"patch_size": [14, 15, 16]}}
    predictor_for(document, network)(sitk.GetImageFromArray(array))
    values = array[array != 0]
    expected = np.where(array != 0, (array - values.mean()) / values.std(), 0)
    np.testing.assert_allclose(seen[0][0, 0], expected, atol=1e-5)


def test_an_image_of_nothing_keeps_its_whole_box():
    document = {"input": {"orientation": None, "crop": {"to": "nonzero"}}}
    result = predictor_for(document)(sitk.GetImageFromArray(np.zeros((5, 6, 7), np.int16)))
    assert sitk.GetArrayFromImage(result.labels).sum() == 0


@pytest.mark.parametrize("decision", ["argmax", "threshold"])
def test_logits_outside_the_box_are_those_of_background(tmp_path, decision):
    sitk.WriteImage(sitk.GetImageFromArray(body()), str(tmp_path / "a.mha"))
    document = {
        "input": {"orientation": None, "crop": {"to": "nonzero"}},
        "output": {
            "decision": decision,
            **({"labels": [{"value": 1}, {"value": 2}]} if decision != "argmax" else {}),
        },
    }
    predictor = predictor_for(document)
    summary = run_folder(predictor, RunSettings(tmp_path / "a.mha", tmp_path / "out", save_logits=True))
    assert summary.exit_code == 0
    logits = zarr.open_array(tmp_path / "out" / "a.zarr", mode="r")[:]
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "a.mha")))
    decided = (
        logits.argmax(0) if decision == "argmax" else (logits[0] > 0) + 2 * ((logits[1] > 0) & (logits[0] <= 0))
    )
    assert logits.shape[1:] == labels.shape
    if decision == "threshold":
        decided = np.where(logits[1] > 0, 2, np.where(logits[0] > 0, 1, 0))
    np.testing.assert_array_equal(decided, labels)
    assert logits[:, 0, 0, 0].tolist() == ([20.0, -20.0] if decision == "argmax" else [-20.0, -20.0])
