"""Antialiased linear resizing against Pillow's."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from itk_infer.volume.picture_input import antialiased as module
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


class OnDemand:
    """Rows of a plane, which notes the ones it was asked for."""

    def __init__(self, plane: NDArray[np.float32]) -> None:
        self.plane, self.shape, self.asked = plane, plane.shape, list[int]()

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        raise NotImplementedError

    def write(self, rows: slice, out: NDArray[np.float32]) -> None:
        self.asked += range(rows.start, rows.stop)
        out[...] = self.plane[rows]


@pytest.mark.parametrize("at_a_time", [1, 70 * 64, 1 << 20])  # a block's rows, a part of all, all
@pytest.mark.parametrize("most_kept", [0, 1 << 20])
@pytest.mark.parametrize("size", [(64, 33), (3, 90), (400, 80)])
def test_rows_are_converted_once_and_give_the_same(
    monkeypatch: pytest.MonkeyPatch, at_a_time: int, most_kept: int, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(module, "AT_A_TIME", at_a_time)
    monkeypatch.setattr(module, "MOST_KEPT", most_kept)
    plane, other = (RNG.normal(size=(300, 70)).astype(np.float32) for _ in range(2))
    rows = OnDemand(plane)
    found = antialiased(rows, size)
    assert rows.asked == list(range(300))
    expected = found.copy()
    antialiased(OnDemand(other), size)
    np.testing.assert_array_equal(found, expected)  # it is not in the memory of the next one
    np.testing.assert_array_equal(antialiased(plane, size), expected)


def test_a_thread_keeps_memory_of_a_limited_size() -> None:
    antialiased(RNG.random((2, 20_000), np.float32), (1, 300))
    small = module._own("narrow", (3, 5))
    assert small.base is not None
    assert small.base is module._own("narrow", (2, 4)).base
    assert module._own("narrow", (1, module.MOST_KEPT + 1)).base is None


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
