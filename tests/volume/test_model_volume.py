"""A volume whose intensities are worked out where it is looked at equals one that was worked out as a whole."""

from __future__ import annotations

import numpy as np
import pytest

from itk_infer.spec import intensity as op
from itk_infer.volume import intensity
from itk_infer.volume.intensity import Intensity, apply_intensity
from itk_infer.volume.model_volume import ModelVolume

STORED = np.random.default_rng(0).integers(-300, 900, (2, 9, 10, 11)).astype(np.int16)
STEPS = [op.ClipPercentile(1, 99), op.ZScore("nonzero"), op.MinMax(channels=(1,))]


@pytest.fixture
def volume():
    return ModelVolume(STORED, Intensity(STORED, STEPS))


def test_parts_are_those_of_the_whole(volume):
    whole = apply_intensity(STORED, STEPS)
    assert volume.shape == whole.shape
    for where in (np.s_[:], np.s_[:, 2:5], np.s_[:, 1:9:4, 3:4, ::2]):
        found = volume[where]
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, whole[where])
    box = (slice(1, 4), slice(0, 10), slice(5, 11))
    np.testing.assert_array_equal(volume.cut(box)[:], whole[(slice(None), *box)])


def test_extremes_and_foreground(volume):
    whole = apply_intensity(STORED, STEPS)
    assert volume.min() == whole.min()
    np.testing.assert_array_equal(volume.above(0.5), (whole > 0.5).any(axis=0))
    turned = STORED.transpose(0, 3, 2, 1)[:, ::-1]
    seen = ModelVolume(turned, Intensity(turned, STEPS))
    np.testing.assert_array_equal(seen.above(0.5), (whole.transpose(0, 3, 2, 1)[:, ::-1] > 0.5).any(axis=0))


def test_looking_changes_nothing(volume):
    before = STORED.copy()
    part = volume[:, :2]
    part[...] = 7
    np.testing.assert_array_equal(STORED, before)
    np.testing.assert_array_equal(volume[:, :2], apply_intensity(STORED, STEPS)[:, :2])


@pytest.mark.parametrize("masked", [False, True])
def test_settled_is_the_same_volume(masked, monkeypatch):
    monkeypatch.setattr(intensity, "PIECE", 300)
    mask = STORED[0] > 100 if masked else None
    steps = [*STEPS, op.ZScore("crop", outside="keep")] if masked else STEPS
    labels, values = (STORED[0] % 3).astype(np.uint8), (1, 2)
    floats = STORED.astype(np.float32)
    volume = ModelVolume(floats, Intensity(floats, steps, mask), mask, labels, values)
    expected = volume[:]
    settled = volume.settled()
    assert settled.shape == volume.shape
    for _ in range(2):  # steps are not applied again
        np.testing.assert_array_equal(settled[:], expected)
    np.testing.assert_array_equal(settled[:, 2:5, ::3], expected[:, 2:5, ::3])
