"""Windows cover every voxel, and their weights sum to one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from itk_infer.engine.windows import place_windows

sizes = st.tuples(*[st.integers(1, 23)] * 3)
patches = st.tuples(*[st.integers(1, 12)] * 3)


@st.composite
def placements(draw):
    size, patch = draw(sizes), draw(patches)
    stride = tuple(draw(st.integers(1, p)) for p in patch)
    return size, patch, stride, draw(st.sampled_from(["gaussian", "constant"]))


@settings(deadline=None)
@given(placements())
def test_weights_are_a_partition_of_unity(placement):
    size, patch, stride, blend = placement
    grid = place_windows(size, patch, stride, (1, 1, 1), blend)
    total = np.zeros(grid.padded_size)
    for index in grid:
        z, y, x = (axis.weights[i].astype(float) for axis, i in zip(grid.axes, index, strict=True))
        where = tuple(
            slice(axis.origins[i], axis.origins[i] + axis.patch) for axis, i in zip(grid.axes, index, strict=True)
        )
        assert total[where].shape == patch  # the window lies inside the padded volume
        total[where] += z[:, None, None] * y[:, None] * x
    np.testing.assert_allclose(total, 1, atol=1e-6)


@settings(deadline=None)
@given(placements())
def test_padding_is_symmetric_floor_before_ceil_after(placement):
    size, patch, stride, blend = placement
    grid = place_windows(size, patch, stride, (1, 1, 1), blend)
    for axis, n, p in zip(grid.axes, size, patch, strict=True):
        missing = max(0, p - n)
        assert (axis.pad_before, axis.pad_after) == (missing // 2, missing - missing // 2)
        assert axis.padded == max(n, p)


def test_origins_step_by_the_stride_and_the_last_is_shifted_back():
    grid = place_windows((10, 8, 5), (4, 4, 5), (3, 2, 5), (1, 1, 1), "constant")
    assert [axis.origins for axis in grid.axes] == [(0, 3, 6), (0, 2, 4), (0,)]
    assert len(grid) == 9
    shifted = place_windows((11, 8, 5), (4, 4, 5), (3, 2, 5), (1, 1, 1), "constant")
    assert shifted.axes[0].origins == (0, 3, 6, 7)


def test_default_stride_is_half_the_patch():
    assert place_windows((9, 9, 9), (4, 5, 1), (None,) * 3, (1, 1, 1), "constant").axes[0].origins == (0, 2, 4, 5)
    assert place_windows((9, 9, 3), (4, 5, 1), (None,) * 3, (1, 1, 1), "constant").axes[2].origins == (0, 1, 2)


def test_whole_volume_is_padded_up_to_the_multiple():
    grid = place_windows((33, 48, 7), (None,) * 3, (None,) * 3, (16, 16, 4), "constant")
    assert grid.patch == (48, 48, 8)
    assert len(grid) == 1
    assert grid.pads == ((7, 8), (0, 0), (0, 1))


def test_gaussian_has_sigma_of_an_eighth_of_the_patch():
    # Two windows that overlap in one voxel: its weights stand in the ratio of the profile's ends.
    grid = place_windows((15, 1, 1), (8, 1, 1), (7, 1, 1), (1, 1, 1), "gaussian")
    weights = grid.axes[0].weights
    assert weights[0][7] == pytest.approx(0.5)
    grid = place_windows((13, 1, 1), (8, 1, 1), (5, 1, 1), (1, 1, 1), "gaussian")
    first, second = grid.axes[0].weights[0][5], grid.axes[0].weights[1][0]
    # voxel 5: offset 1.5 from the first centre (3.5), -3.5 from the second (8.5); sigma 1
    assert first / second == pytest.approx(np.exp(-0.5 * 1.5**2) / np.exp(-0.5 * 3.5**2), rel=1e-5)


@settings(deadline=None)
@given(sizes, patches, st.sampled_from([0.2, 0.25, 1 / 3, 0.5, 0.8, 1.0]))
def test_even_windows_are_the_fewest_and_spread_by_the_formula(size, patch, step):
    """The rule of nnU-Net: its number of steps, its rounding (NumPy's, halves to the even number)."""
    stride = tuple(p * step for p in patch)
    grid = place_windows(size, patch, stride, (1, 1, 1), "gaussian", placement="even")
    for axis, p, distance in zip(grid.axes, patch, stride, strict=True):
        distance = max(1.0, distance)
        count = int(np.ceil((axis.padded - p) / distance)) + 1
        between = (axis.padded - p) / (count - 1) if count > 1 else 0.0
        assert axis.origins == tuple(int(np.round(between * i)) for i in range(count))
        total = np.zeros(axis.padded)
        for origin, weights in zip(axis.origins, axis.weights, strict=True):
            total[origin : origin + p] += weights
        np.testing.assert_allclose(total, 1, atol=1e-6)


def test_windows_of_one_voxel_are_one_each():
    assert place_windows((4, 1, 1), (1, 1, 1), (0.5, 1, 1), (1, 1, 1), "constant", placement="even").axes[
        0
    ].origins == ((0, 1, 2, 3))


def test_the_gaussian_may_be_centred_on_a_voxel():
    """As scipy's gaussian filter of a delta at patch // 2, but for its truncation."""
    grid = place_windows((12, 1, 1), (8, 1, 1), (4, 1, 1), (1, 1, 1), "gaussian", center="voxel")
    delta = np.zeros(8)
    delta[4] = 1
    profile = ndimage.gaussian_filter1d(delta, 1.0, mode="constant", truncate=8)
    total = np.zeros(12)
    for origin in (0, 4):
        total[origin : origin + 8] += profile
    np.testing.assert_allclose(grid.axes[0].weights[0], profile / total[:8], rtol=1e-3, atol=1e-6)
