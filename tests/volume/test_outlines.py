"""Outlines along the edges of pixels, against a point-in-polygon test and a count of components."""

from __future__ import annotations

import numpy as np
import pytest

from itk_infer.volume.components import components
from itk_infer.volume.outlines import area, outlines


def filled(polygons, shape):
    """Pixels whose centre lies inside an odd number of crossings to the left, of any polygon."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    result = np.zeros(shape, bool)
    for polygon in polygons:
        inside = np.zeros(shape, bool)
        for (x0, y0), (x1, y1) in zip(polygon, [*polygon[1:], polygon[0]]):
            if x0 == x1:
                inside ^= (min(y0, y1) < y) & (y < max(y0, y1)) & (x > x0)
        result |= inside
    return result


def without_holes(mask):
    """What the background that touches the border, by faces, does not reach."""
    padded = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    found = components(padded[None], 6)
    outside = np.zeros_like(padded[None])
    found.put(outside, found.at_border_of_planes(), 1)
    return outside[0, 1:-1, 1:-1] == 0


def test_a_rectangle():
    mask = np.zeros((4, 5), bool)
    mask[1:3, 1:4] = True
    (polygon,) = outlines(mask)
    assert sorted(polygon) == [(1, 1), (1, 3), (4, 1), (4, 3)]
    assert area(polygon) == 6


def test_nothing():
    assert outlines(np.zeros((3, 3), bool)) == []


def test_pixels_that_touch_at_a_corner_are_one_part():
    (polygon,) = outlines(np.eye(3, dtype=bool))
    assert (len(polygon), area(polygon)) == (12, 3)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("seed", range(5))
def test_random_masks(seed, share):
    mask = np.random.default_rng(seed).random((17, 23)) < share
    polygons = outlines(mask)
    # Parts that lie in the holes of others are outlined, too.
    assert len(polygons) == len(components(mask.astype(np.uint8)[None]).sizes)
    np.testing.assert_array_equal(filled(polygons, mask.shape), without_holes(mask))
    for polygon in polygons:
        turns = zip(polygon, [*polygon[1:], *polygon[:1]], [*polygon[2:], *polygon[:2]])
        assert all((a[0] == b[0]) != (b[0] == c[0]) for a, b, c in turns)  # every corner is one
