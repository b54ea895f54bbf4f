"""Modes of Pillow, bit depths, animations."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from PIL import Image

from itk_infer.errors import InputError
from itk_infer.volume.picture_files.pillow import decode, palette_indices, read_header

RANDOM = np.random.default_rng(3)
GREY = RANDOM.integers(0, 256, (5, 7), np.uint8)
COLOUR = RANDOM.integers(0, 256, (5, 7, 3), np.uint8)


def saved(picture, kind="PNG", **options):
    stream = io.BytesIO()
    picture.save(stream, format=kind, **options)
    return stream.getvalue()


def encode_16_bits(colours):
    imagecodecs = pytest.importorskip("imagecodecs")
    return imagecodecs.png_encode(colours)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colours_of_16_bits_keep_them(channels):
    """Pillow opens them as 8 bits."""
    colours = RANDOM.integers(0, 65536, (5, 7, channels)).astype(np.uint16)
    data = encode_16_bits(colours)
    kept = channels - (channels != 3)
    np.testing.assert_array_equal(decode(data).pages[0], colours[..., :kept])
    header = read_header(io.BytesIO(data))
    assert (header.channels, header.dtype) == (kept, np.uint16)


def test_without_imagecodecs_they_are_refused(monkeypatch):
    data = encode_16_bits(np.zeros((3, 3, 3), np.uint16))
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(InputError, match=r"itk_infer\[images\]"):
        decode(data)


def test_damaged_colours_of_16_bits():
    data = encode_16_bits(RANDOM.integers(0, 65536, (50, 70, 3)).astype(np.uint16))
    with pytest.raises(InputError, match="damaged or truncated"):
        decode(data[:2000])


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        pytest.param(Image.fromarray(GREY), GREY[..., None], id="grey"),
        pytest.param(Image.fromarray(COLOUR), COLOUR, id="colours"),
        pytest.param(Image.fromarray(GREY.astype(np.uint16) * 257), GREY[..., None] * 257.0, id="16 bits"),
        pytest.param(Image.fromarray(GREY > 99), (GREY > 99)[..., None], id="one bit"),
    ],
)
def test_modes(picture, expected):
    data = saved(picture)
    stored = decode(data)
    np.testing.assert_array_equal(stored.pages[0], expected)
    assert read_header(io.BytesIO(data)).dtype == stored.pages.dtype


def test_a_transparent_palette():
    picture = Image.fromarray(GREY % 3)
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    stored = decode(saved(picture, transparency=1))
    np.testing.assert_array_equal(stored.pages[0], (GREY % 3)[..., None] * 30 + np.array([10, 20, 30]))
    assert "transparent" in stored.notes[0]


def test_palette_indices():
    picture = Image.fromarray(GREY % 3)
    picture.putpalette([0] * 9)
    np.testing.assert_array_equal(palette_indices(saved(picture)), GREY % 3)
    assert palette_indices(saved(Image.fromarray(GREY))) is None


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animations_are_refused(kind):
    frames = [Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)]
    with pytest.raises(InputError, match="animated, 2 frames"):
        decode(saved(frames[0], kind, save_all=True, append_images=frames[1:]))


def test_several_pictures_of_a_camera_are_its_first():
    data = saved(Image.fromarray(COLOUR), "MPO", save_all=True, append_images=[Image.fromarray(255 - COLOUR)])
    stored = decode(data)
    assert stored.pages.shape == (1, 5, 7, 3)
    assert "the first is read" in stored.notes[0]


def test_a_damaged_checksum_is_seen():
    data = bytearray(saved(Image.fromarray(GREY)))
    data[data.index(b"IDAT") + 6] ^= 255
    with pytest.raises(InputError, match="damaged or truncated"):
        decode(bytes(data))


def test_large_pictures_are_read_without_a_warning(monkeypatch):
    """From half of its limit on Pillow warns, and warnings are errors here."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)
    assert decode(saved(Image.fromarray(GREY))).pages.shape == (1, 5, 7, 1)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 15)
    with pytest.raises(InputError, match="more pixels than are read"):
        decode(saved(Image.fromarray(GREY)))
