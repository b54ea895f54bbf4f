"""Every intensity step against its formula in float64."""

from __future__ import annotations

import numpy as np
import pytest

from itk_infer.spec import intensity as op
from itk_infer.volume import intensity as module
from itk_infer.volume.intensity import apply_intensity, runs

CT = np.random.default_rng(0).integers(-1000, 3000, (1, 6, 7, 8)).astype(np.int16)


@pytest.fixture(params=[1 << 20, 50], ids=["at once", "in parts"], autouse=True)
def _parts(request, monkeypatch):
    """Volumes are looked at in parts; nothing may depend on their size."""
    monkeypatch.setattr(module, "PIECE", request.param)


def check(step, expected, array=CT):
    found = apply_intensity(array, [step])
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_window_maps_its_ends_to_zero_and_one():
    check(op.WindowLevel(50, 400), np.clip((CT.astype(float) + 150) / 400, 0, 1))
    ends = np.array([-150, 50, 250, 9999]).reshape(1, 1, 1, 4)
    assert apply_intensity(ends, [op.WindowLevel(50, 400)]).ravel().tolist() == [0, 0.5, 1, 1]


def test_window_does_not_wrap_or_truncate_stored_values():
    large = np.array([40000, 0], np.uint16).reshape(1, 1, 1, 2)
    assert apply_intensity(large, [op.WindowLevel(20000, 40000)]).ravel().tolist() == [1, 0]
    small = np.array([0.4, 0.9], np.float32).reshape(1, 1, 1, 2)
    assert apply_intensity(small, [op.WindowLevel(0.5, 1)]).ravel() == pytest.approx([0.4, 0.9])


def test_clip():
    check(op.Clip(-100, 200), np.clip(CT, -100, 200))


def test_clip_percentile_takes_the_whole_volume():
    check(op.ClipPercentile(5, 90), np.clip(CT, *np.percentile(CT, (5, 90))))


def test_percentiles_of_what_earlier_steps_left():
    clipped = np.clip(CT.astype(np.float32), -200, 700)
    found = apply_intensity(CT, [op.Clip(-200, 700), op.ClipPercentile(30, 80), op.MinMax()])
    low, high = np.percentile(clipped, (30, 80))
    np.testing.assert_allclose(found, (np.clip(clipped, low, high) - low) / (high - low), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.float32, np.float64])
def test_percentiles_of_every_type(dtype):
    array = (np.random.default_rng(2).random((1, 5, 6, 7)) * 250).astype(dtype)
    check(op.ClipPercentile(2.5, 97), np.clip(array, *np.percentile(array, (2.5, 97))), array)


def test_percentiles_of_whole_numbers_far_apart():
    array = np.random.default_rng(2).integers(-(10**8), 10**8, (1, 5, 6, 7)).astype(np.int32)
    low, high = np.percentile(array, (10, 90))
    np.testing.assert_allclose(
        apply_intensity(array, [op.ClipPercentile(10, 90)]), np.clip(array, low, high), rtol=1e-6
    )


def test_parts_cover_a_turned_volume_once_and_follow_its_memory():
    stored = np.zeros((9, 10, 11), np.int16)
    for turned in (stored, stored.transpose(2, 1, 0), stored.transpose(1, 0, 2)[::-1], stored[:, :, ::-1]):
        seen = np.zeros(turned.shape, int)
        parts = list(runs(turned))
        for where in parts:
            seen[where] += 1
        assert (seen == 1).all()
        if len(parts) > 1:  # cut along what was Z in memory
            assert {turned[where].size for where in parts[:-1]} == {110}


def test_minmax():
    check(op.MinMax(), (CT - CT.min()) / float(np.ptp(CT)))


def test_divide_by_max():
    check(op.DivideByMax(), CT / CT.max())


@pytest.mark.parametrize("mask", ["all", "nonzero", "above_mean"])
def test_zscore_takes_statistics_from_its_mask_and_applies_them_to_all(mask):
    array = np.where(CT < 0, 0, CT).astype(np.int16)
    chosen = {"all": array.ravel(), "nonzero": array[array != 0], "above_mean": array[array > array.mean()]}[mask]
    check(op.ZScore(mask), (array - chosen.mean()) / chosen.std(), array)


def test_zscore_of_large_offsets_keeps_its_digits():
    array = (np.random.default_rng(1).normal(0, 1, (1, 64, 64, 64)) + 10000).astype(np.float32)
    found = apply_intensity(array, [op.ZScore()])
    expected = (array.astype(float) - array.astype(float).mean()) / array.astype(float).std()
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_standardize_takes_one_number_a_channel():
    two = np.concatenate([CT, CT])
    found = apply_intensity(two, [op.Standardize((10.0, 20.0), (2.0, 4.0))])
    np.testing.assert_allclose(found[0], (CT[0] - 10.0) / 2, atol=1e-4)
    np.testing.assert_allclose(found[1], (CT[0] - 20.0) / 4, atol=1e-4)


def test_steps_follow_each_other_and_can_name_channels():
    two = np.concatenate([CT, CT])
    found = apply_intensity(two, [op.Clip(0, 1000), op.MinMax(channels=(1,))])
    np.testing.assert_allclose(found[0], np.clip(CT[0], 0, 1000))
    np.testing.assert_allclose(found[1], np.clip(CT[0], 0, 1000) / 1000, atol=1e-6)


@pytest.mark.parametrize(
    "step",
    [op.ZScore(), op.ZScore("nonzero"), op.ZScore("above_mean"), op.MinMax(), op.DivideByMax()],
    ids=["zscore", "zscore nonzero", "zscore above_mean", "minmax", "divide_by_max"],
)
@pytest.mark.parametrize("value", [0, 7, 0.1])
def test_a_constant_image_gives_finite_values(step, value):
    found = apply_intensity(np.full((1, 3, 3, 3), value, np.float32), [step])
    assert np.isfinite(found).all()
    if not isinstance(step, op.DivideByMax):
        assert (found == 0).all()


def test_the_input_is_left_alone():
    before = CT.copy()
    apply_intensity(CT, [op.ZScore(), op.Clip(0, 1)])
    np.testing.assert_array_equal(CT, before)
    floats = CT.astype(np.float32)
    apply_intensity(floats, [op.MinMax()])
    np.testing.assert_array_equal(floats, before)
