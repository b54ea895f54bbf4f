"""From pictures to the network's input: sizes against torch's and hand-made values, channels, intensities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from itk_infer.spec.classify_spec import PictureChannel, PictureInput, PictureResize
from itk_infer.spec.intensity import MinMax, Standardize
from itk_infer.volume.picture_input.maker import PictureMaker, resized

RANDOM = np.random.default_rng(0).random((37, 23), np.float32)


@dataclass
class Plain:
    values: np.ndarray
    sha256: str = ""

    def rows(self, channel: PictureChannel, wanted: PictureInput) -> Any:
        return self.values * (1 if channel.window is None else channel.window[0])


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [(16, 10), (64, 64), (37, 11)])
def test_linear_is_that_of_torch(size: tuple[int, int], antialias: bool) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(RANDOM)[None, None], size, mode="bilinear", antialias=antialias, align_corners=False
    )
    got = resized(RANDOM, size, PictureResize(antialias=antialias))
    np.testing.assert_allclose(got, wanted[0, 0].numpy(), atol=2e-5)


def test_sizes_that_keep_the_proportions() -> None:
    ones = np.ones((40, 20), np.float32)
    fitted = resized(ones, (20, 20), PictureResize("fit"))
    assert fitted.shape == (20, 20)
    np.testing.assert_allclose(fitted[:, 5:15], 1)
    assert not fitted[:, :5].any()
    np.testing.assert_allclose(resized(ones, (10, 10), PictureResize("fill")), 1)
    cut = resized(np.arange(16, dtype=np.float32).reshape(4, 4), (2, 2), PictureResize("crop"))
    np.testing.assert_array_equal(cut, [[5, 6], [9, 10]])
    padded = resized(np.ones((1, 2), np.float32), (3, 3), PictureResize("crop"))
    np.testing.assert_array_equal(padded, [[0, 0, 0], [1, 1, 0], [0, 0, 0]])
    near = resized(np.array([[1, 2]], np.float32), (1, 4), PictureResize(interpolation="nearest"))
    np.testing.assert_array_equal(near, [[1, 1, 2, 2]])


def test_a_size_of_its_own_is_kept() -> None:
    assert np.shares_memory(resized(RANDOM, None, PictureResize()), RANDOM)


def test_channels_neighbours_and_intensities() -> None:
    channels = tuple(PictureChannel(slice=k) for k in (-1, 0, 1))
    maker = PictureMaker(PictureInput(channels, intensity=(Standardize((1.0, 2.0, 3.0), (2.0,)),)))
    assert maker.reach == 1
    planes = {k: maker.planes(Plain(np.full((2, 2), 10.0 * k, np.float32))) for k in (-1, 0, 1)}
    np.testing.assert_allclose(maker.channels(lambda k: planes[k])[:, 0, 0], [-5.5, -1, 3.5])


def test_a_plane_that_several_channels_see_is_made_once() -> None:
    windowed = PictureChannel(window=(3.0, 1.0))
    maker = PictureMaker(PictureInput((PictureChannel(), PictureChannel(), windowed), intensity=(MinMax(),)))
    planes = maker.planes(Plain(np.array([[1, 2]], np.float32)))
    assert planes.shape == (2, 1, 2)
    np.testing.assert_allclose(maker.channels(lambda _: planes), [[[0, 1]]] * 3)


def test_the_middle_is_cut_out() -> None:
    maker = PictureMaker(PictureInput(size=(4, 4), center_crop=(2, 2)))
    planes = maker.planes(Plain(np.arange(16, dtype=np.float32).reshape(4, 4)))
    np.testing.assert_array_equal(planes[0], [[5, 6], [9, 10]])
