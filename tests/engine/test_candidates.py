"""Only channels that cannot win anywhere between the voxels are left out, and most of those are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, map_coordinates

from itk_infer.engine import candidates as module
from itk_infer.engine.candidates import candidates
from itk_infer.engine.decision import winners


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(*[st.integers(1, 7)] * 3),
    st.integers(1, 9),
    st.integers(0, 2**31),
    st.sampled_from(["noise", "smooth", "ties"]),
)
def test_whoever_wins_at_a_random_point_is_a_contender(shape, channels, seed, kind):
    rng = np.random.default_rng(seed)
    strip = rng.normal(size=(channels, *shape)).astype(np.float32)
    if kind == "smooth":
        strip = np.stack([gaussian_filter(channel, 1.5) for channel in strip])
    if kind == "ties":
        strip = np.round(strip)
    first = int(rng.integers(shape[2]))
    runs = [slice(0, shape[2]), slice(first, shape[2]), slice(0, first + 1)]
    able = candidates(strip, runs)
    assert able.any(axis=1).all()
    for run, mine in zip(runs, able, strict=True):
        lowest, highest = [0, 0, run.start], [shape[0] - 1, shape[1] - 1, run.stop - 1]
        points = np.concatenate([rng.uniform(lowest, highest, (300, 3)), [lowest, highest]]).T
        values = np.stack([map_coordinates(c.astype(float), points, order=1) for c in strip])
        tied = values.max(axis=0) - values < 1e-9
        clear = tied.sum(axis=0) == 1
        assert mine[values.argmax(axis=0)[clear]].all()
        corners = strip[:, :, :, run].reshape(channels, -1)
        assert mine[(corners == corners.max(axis=0)).any(axis=1)].all()  # all of a tie


def test_a_third_channel_that_wins_only_between_the_voxels_is_one():
    strip = np.array([[5, 0], [0, 5], [4, 4], [-9, -9]], np.float32).reshape(4, 1, 1, 2)
    np.testing.assert_array_equal(candidates(strip, [slice(0, 2)])[0], [True, True, True, False])


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("step", [1, -1])
def test_high_bars_next_to_a_cell_do_not_hide_who_wins_in_it(axis, step):
    # Halfway along, the third leads with 3.7 over 2.5, 2.5 and 2.6; at the voxels the first two lead.
    lines = [[5, 5, 0, 0], [0, 0, 5, 5], [0, 4.9, 2.5, 0], [2.6] * 4]
    strip = np.array(lines, np.float32)[:, None, None, ::step]
    strip = strip if axis == 3 else strip.swapaxes(2, 3)
    np.testing.assert_array_equal(candidates(strip, [slice(0, 4)])[0], [True, True, True, True])


def test_a_slope_across_the_strip_does_not_make_everyone_one():
    slope = np.linspace(0, 100, 40, dtype=np.float32)
    strip = np.stack([slope, slope - 10]).reshape(2, 1, 1, 40).repeat(4, axis=2)
    np.testing.assert_array_equal(candidates(strip, [slice(0, 40)])[0], [True, False])


def test_channels_in_many_parts_change_nothing(monkeypatch):
    strip = np.random.default_rng(0).normal(size=(30, 3, 5, 9)).astype(np.float32)
    strip[[4, 28]] += 3
    strip[17, :, :, :2] += 9
    one = candidates(strip, [slice(0, 4), slice(3, 9)])
    assert 0 < one.mean() < 1
    monkeypatch.setattr(module, "BLOCK_VOXELS", 100)
    np.testing.assert_array_equal(candidates(strip, [slice(0, 4), slice(3, 9)]), one)


@settings(deadline=None, max_examples=40)
@given(st.tuples(st.integers(1, 6), *[st.integers(1, 5)] * 3), st.integers(0, 2**31), st.booleans())
def test_winners_are_the_first_largest(shape, seed, tie):
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    if tie:
        values = np.round(values)
    np.testing.assert_array_equal(winners(values), np.argmax(values, axis=0))


def test_winners_of_many_channels_and_large_planes():
    values = np.random.default_rng(1).integers(0, 500, (300, 2, 20, 30)).astype(np.float32)
    np.testing.assert_array_equal(winners(values), np.argmax(values, axis=0))
    large = np.random.default_rng(2).normal(size=(3, 2, 250, 300)).astype(np.float32)[:, :, 3:-4, 5:-6]
    np.testing.assert_array_equal(winners(large), np.argmax(large, axis=0))
