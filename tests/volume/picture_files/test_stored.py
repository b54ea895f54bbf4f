"""Turning pages upright, and limits."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from itk_infer.errors import InputError
from itk_infer.volume.picture_files.stored import StoredHeader, checked, turned_note, turned_size, upright

RAMP = np.arange(12, dtype=np.uint8).reshape(3, 4)


@pytest.mark.parametrize("orientation", range(9))
def test_upright_is_what_pillow_makes_of_it(orientation):
    picture = Image.fromarray(RAMP)
    picture.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(picture))
    found = upright(RAMP[None, ..., None], orientation)[0, ..., 0]
    np.testing.assert_array_equal(found, expected)
    assert turned_size(3, 4, orientation) == expected.shape
    assert len(turned_note(orientation)) == (orientation >= 2)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        pytest.param(StoredHeader(1, 0, 4, 1, np.dtype("u1")), "no pixels", id="empty"),
        pytest.param(StoredHeader(1, 60000, 60000, 1, np.dtype("u1")), "60000 x 60000 pixels", id="large"),
        pytest.param(StoredHeader(1, 4, 4, 65, np.dtype("u1")), "65 channels", id="channels"),
        pytest.param(StoredHeader(300, 10000, 10000, 1, np.dtype("u1")), "numbers", id="pages"),
        pytest.param(StoredHeader(1, 4, 4, 1, np.dtype("c8")), "complex64", id="complex"),
    ],
)
def test_limits(header, words):
    with pytest.raises(InputError, match=words):
        checked(header)
