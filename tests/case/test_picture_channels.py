"""Channels of pictures as models take them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from itk_infer.case.picture_channels import colour_order, with_channels
from itk_infer.errors import InputError
from itk_infer.spec import InputSpec
from itk_infer.volume.grid import Grid
from itk_infer.volume.volume import Volume

RANDOM = np.random.default_rng(1)


def picture(channels, dtype=np.uint8, oriented=False):
    array = RANDOM.integers(0, 256, (channels, 1, 4, 5)).astype(dtype)
    return Volume(array, Grid((1, 4, 5), (1, 1, 1), oriented=oriented), "a")


def model(*channels, dimensions=2):
    return InputSpec(channels=channels, dimensions=dimensions)


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (("red", "green", "blue"), (0, 1, 2)),
        (("B", "G", "R"), (2, 1, 0)),
        ((" Blue ", "red", "GREEN"), (2, 0, 1)),
        (("T1", "T2", "FLAIR"), None),
        (("red", "green"), None),
        (("", "", ""), None),
    ],
)
def test_order_of_colours(names, order):
    assert colour_order(names) == order


def test_colours_in_the_order_of_the_model():
    given = picture(3)
    found, notes = with_channels(given, model("blue", "green", "red"))
    np.testing.assert_array_equal(found.array, given.array[::-1])
    assert (notes, with_channels(given, model("", "", ""))[0], with_channels(given, model("R", "G", "B"))[0]) == (
        [],
        given,
        given,
    )


@pytest.mark.parametrize("names", [("red", "green", "blue"), ("", "", "")])
def test_grey_is_three_equal_colours(names):
    given = picture(1)
    found, notes = with_channels(given, model(*names))
    np.testing.assert_array_equal(found.array, np.concatenate([given.array] * 3))
    assert notes == []


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_colours_for_a_model_of_grey(dtype):
    given = picture(3, dtype)
    found, notes = with_channels(given, model(""))
    if dtype is np.uint8:
        rgb = Image.fromarray(np.ascontiguousarray(np.moveaxis(given.array[:, 0], 0, -1)))
        np.testing.assert_allclose(found.array[0, 0], np.asarray(rgb.convert("L")), atol=1)
    else:
        np.testing.assert_allclose(found.array[0], np.tensordot([0.299, 0.587, 0.114], given.array, 1), rtol=1e-5)
    assert found.array.dtype == dtype
    assert "grey" in notes[0]


def test_equal_colours_are_grey_already():
    grey = picture(1)
    found, notes = with_channels(Volume(np.concatenate([grey.array] * 3), grid=grey.grid), model(""))
    np.testing.assert_array_equal(found.array, grey.array)
    assert notes == []


@pytest.mark.parametrize(
    ("has", "names", "words"),
    [
        (2, ("red", "green", "blue"), r"has 2 channels, and the model takes 3 \(red, green, blue\)"),
        (1, ("T1", "T2", "FLAIR"), "has 1 channel, and the model takes 3"),
        (3, ("a", "b"), "has 3 channels, and the model takes 2"),
    ],
)
def test_what_does_not_fit(has, names, words):
    with pytest.raises(InputError, match=words):
        with_channels(picture(has), model(*names))


def test_other_channels_as_they_are():
    given = picture(2)
    assert with_channels(given, model("DAPI", "GFP")) == (given, [])


def test_volumes_are_left_alone():
    given = picture(3, oriented=True)
    assert with_channels(given, model("")) == (given, [])
