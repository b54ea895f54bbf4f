"""Antialiased linear resizing against Pillow's."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from itk_infer.volume.picture_input.antialiased import ON_ONE_THREAD, _blocks, antialiased

RNG = np.random.default_rng(5)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((512, 512), (224, 224)),
        ((600, 90), (64, 100)),  # smaller along one axis, larger along the other
        ((7, 5), (64, 33)),
        ((1, 1), (3, 4)),
        ((300, 1), (1, 2)),
        ((1531, 1033), (31, 17)),
        ((33, 70), (33, 17)),
        ((2, 20_000), (1, 300)),
    ],
)
def test_it_is_that_of_pillow(shape: tuple[int, int], size: tuple[int, int]) -> None:
    plane = RNG.normal(size=shape).astype(np.float32)
    wanted = np.asarray(Image.fromarray(plane).resize(size[::-1], Image.Resampling.BILINEAR))
    found = antialiased(plane, size)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_a_plane_that_is_a_part_of_another_is_left_as_it_is() -> None:
    whole = RNG.random((60, 80), np.float32)
    part, before = whole[3:43, ::2], whole.copy()
    np.testing.assert_array_equal(antialiased(part, (9, 11)), antialiased(part.copy(), (9, 11)))
    np.testing.assert_array_equal(whole, before)


def test_products_are_small_and_cover_all_pixels() -> None:
    have, wanted, across = 4000, 300, 3000
    blocks = _blocks(have, wanted, across)
    assert [out.start for out, _, _ in blocks[1:]] == [out.stop for out, _, _ in blocks[:-1]]
    assert (blocks[0][0].start, blocks[-1][0].stop) == (0, wanted)
    assert (blocks[0][1].start, blocks[-1][1].stop) == (0, have)
    for out, taken, weights in blocks:
        assert weights.shape == (out.stop - out.start, taken.stop - taken.start)
        assert weights.size * across <= ON_ONE_THREAD or len(weights) == 1
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
