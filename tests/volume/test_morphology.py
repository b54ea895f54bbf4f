"""Holes, opening and closing against scipy with footprints; distances by SimpleITK and by edt alike."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from itk_infer.volume.morphology import bounding_box, closed, holes, opened, within

masks = arrays.arrays(np.bool_, st.tuples(*[st.integers(1, 9)] * 3))
spacings = st.tuples(*[st.sampled_from([0.5, 0.8, 1.0, 1.5, 3.0])] * 3)
radii = st.sampled_from([0.3, 0.8, 1.0, 1.5, 2.0, 2.4])


@pytest.fixture(params=["SimpleITK", "edt"], autouse=True)
def distances(request, monkeypatch):
    if request.param == "edt":
        pytest.importorskip("edt")
    else:
        monkeypatch.setitem(sys.modules, "edt", None)


def ball(mm, spacing):
    """Voxels whose centres are within `mm` of the middle one."""
    reach = [int(mm / side + 1e-6) for side in spacing]
    axes = np.ogrid[tuple(slice(-n, n + 1) for n in reach)]
    return sum((axis * side) ** 2 for axis, side in zip(axes, spacing, strict=True)) <= mm * mm * (1 + 1e-9)


def padded(function, mask, footprint):
    """An operation of scipy with background around the image."""
    return function(np.pad(mask, 12), footprint)[12:-12, 12:-12, 12:-12]


@given(masks, spacings, radii)
@settings(deadline=None, max_examples=60)
def test_balls(mask, spacing, mm):
    footprint = ball(mm, spacing)
    if mask.any():
        np.testing.assert_array_equal(within(mask, mm, spacing), ndimage.binary_dilation(mask, footprint))
    np.testing.assert_array_equal(opened(mask, mm, spacing), padded(ndimage.binary_opening, mask, footprint))
    np.testing.assert_array_equal(closed(mask, mm, spacing), padded(ndimage.binary_closing, mask, footprint))


@given(masks)
@settings(deadline=None, max_examples=100)
def test_holes(mask):
    np.testing.assert_array_equal(holes(mask), ndimage.binary_fill_holes(mask) & ~mask)
    for axis in range(3):
        planes = [ndimage.binary_fill_holes(plane) & ~plane for plane in np.moveaxis(mask, axis, 0)]
        np.testing.assert_array_equal(holes(mask, axis), np.stack(planes, axis))


@given(masks)
@settings(deadline=None, max_examples=30)
def test_holes_of_fill_voids(mask):
    fill_voids = pytest.importorskip("fill_voids")
    np.testing.assert_array_equal(mask | holes(mask), fill_voids.fill(mask))


@given(masks)
@settings(deadline=None, max_examples=50)
def test_bounding_box(mask):
    expected = ndimage.find_objects(mask.astype(int))
    assert bounding_box(mask) == (expected[0] if expected else None)
