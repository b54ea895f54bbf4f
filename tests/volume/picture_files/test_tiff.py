"""Axes, colours and damage of TIFF files."""

from __future__ import annotations

import io
import logging
import sys
import threading

import numpy as np
import pytest

from itk_infer.errors import InputError
from itk_infer.volume.picture_files.tiff import decode, read_header

tifffile = pytest.importorskip("tifffile")
RANDOM = np.random.default_rng(5)
GREY = RANDOM.integers(0, 256, (5, 7), np.uint8)
COLOUR = RANDOM.integers(0, 256, (5, 7, 3), np.uint8)


def saved(array, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, **options)
    return stream.getvalue()


def same_header(data):
    stored, header = decode(data), read_header(io.BytesIO(data))
    assert (header.pages, header.height, header.width, header.channels) == stored.pages.shape
    assert header.dtype == stored.pages.dtype
    return stored


def test_a_palette_is_looked_up():
    table = RANDOM.integers(0, 65536, (3, 256)).astype(np.uint16)
    stored = same_header(saved(GREY, photometric="palette", colormap=table))
    np.testing.assert_array_equal(stored.pages[0], np.moveaxis(table[:, GREY], 0, -1))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_white_is_zero(kind):
    stored = same_header(saved(GREY.astype(kind), photometric="miniswhite"))
    np.testing.assert_array_equal(stored.pages[0, ..., 0], np.iinfo(kind).max - GREY.astype(kind))


def test_white_is_zero_in_one_bit():
    stored = same_header(saved(GREY > 99, photometric="miniswhite"))
    np.testing.assert_array_equal(stored.pages[0, ..., 0], GREY <= 99)


def test_white_is_zero_in_floats_is_refused():
    with pytest.raises(InputError, match="no largest one"):
        decode(saved(GREY.astype(np.float32), photometric="miniswhite"))


@pytest.mark.parametrize("alpha", [255, 7])
def test_alpha_is_left_out(alpha):
    colours = np.dstack([COLOUR, np.full((5, 7), alpha, np.uint8)])
    stored = same_header(saved(colours, photometric="rgb", extrasamples=["unassalpha"]))
    np.testing.assert_array_equal(stored.pages[0], COLOUR)
    assert len(stored.notes) == (alpha != 255)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_orientation(orientation):
    data = saved(GREY, extratags=[(274, 3, 1, orientation, True)])
    expected = {1: GREY, 3: GREY[::-1, ::-1], 6: np.rot90(GREY, -1)}[orientation]
    np.testing.assert_array_equal(same_header(data).pages[0, ..., 0], expected)


def test_half_precision_becomes_single():
    assert same_header(saved(GREY.astype(np.float16))).pages.dtype == np.float32


def test_pages_of_colours():
    pages = RANDOM.integers(0, 256, (4, 5, 7, 3), np.uint8)
    np.testing.assert_array_equal(same_header(saved(pages, photometric="rgb")).pages, pages)


def test_channels_of_a_microscope_along_z():
    stack = RANDOM.integers(0, 256, (4, 2, 5, 7), np.uint8)
    stored = same_header(saved(stack, ome=True, metadata={"axes": "ZCYX"}))
    np.testing.assert_array_equal(stored.pages, np.moveaxis(stack, 1, -1))


def test_more_axes_are_refused():
    stack = np.zeros((3, 4, 5, 7), np.uint8)
    with pytest.raises(InputError, match="axes TZYX"):
        decode(saved(stack, ome=True, metadata={"axes": "TZYX"}))


def test_pictures_of_several_sizes_are_the_first():
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        writer.write(GREY)
        writer.write(GREY[:3, :3])
    stored = decode(stream.getvalue())
    np.testing.assert_array_equal(stored.pages[0, ..., 0], GREY)
    assert "2 images of different sizes" in stored.notes[0]


def test_other_colours_are_refused():
    with pytest.raises(InputError, match="SEPARATED"):
        decode(saved(np.zeros((5, 7, 4), np.uint8), photometric="separated"))


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("percent", [10, 50, 95])
def test_truncated(compression, percent):
    data = saved(RANDOM.integers(0, 256, (64, 64), np.uint8), compression=compression, rowsperstrip=8)
    with pytest.raises(InputError):
        decode(data[: len(data) * percent // 100])


def test_a_strip_that_is_not_there_is_no_black_one():
    data = bytearray(saved(RANDOM.integers(0, 256, (64, 64), np.uint8), rowsperstrip=16))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tag = file.pages[0].tags["StripByteCounts"]
        where, count = tag.valueoffset, tag.count
    assert count == 4
    kind = np.frombuffer(bytes(data[tag.offset + 2 : tag.offset + 4]), "<u2")[0]
    width = {3: 2, 4: 4}[int(kind)]
    data[where : where + width] = bytes(width)
    with pytest.raises(InputError, match="truncated"):
        decode(bytes(data))


def test_fewer_bytes_than_pixels():
    data = bytearray(saved(GREY))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tag = file.pages[0].tags["StripByteCounts"]
    data[tag.valueoffset] = 9
    with pytest.raises(InputError, match="fewer pixels"):
        decode(bytes(data))


def test_without_tifffile(monkeypatch):
    data = saved(GREY)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(InputError, match=r"itk_infer\[images\]"):
        decode(data)


def test_a_chain_of_pages_that_breaks_off_is_not_a_shorter_one():
    """tifffile goes on with the pages it finds, and says so in its log alone."""
    stream = io.BytesIO()
    pages = RANDOM.integers(0, 256, (3, 50, 70), np.uint8)
    with tifffile.TiffWriter(stream) as writer:
        for page in pages:
            writer.write(page, contiguous=False, metadata=None)
    data = stream.getvalue()
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        second = file.pages[1].offset
    assert decode(data).pages.shape == (3, 50, 70, 1)
    with pytest.raises(InputError, match="damaged|truncated"):
        decode(data[:second])


def test_a_palette_that_is_missing():
    table = np.zeros((3, 256), np.uint16)
    data = bytearray(saved(GREY, photometric="palette", colormap=table))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tag = file.pages[0].tags["ColorMap"]
    data[tag.offset : tag.offset + 2] = (65000).to_bytes(2, "little")  # another tag's number
    with pytest.raises(InputError, match="palette|damaged"):
        decode(bytes(data))


def test_what_is_said_of_another_file_in_another_thread_is_not_of_this_one(monkeypatch):
    whole = tifffile.TiffPageSeries.asarray

    def beside(*arguments, **options):
        thread = threading.Thread(target=logging.getLogger("tifffile").error, args=("another file is damaged",))
        thread.start()
        thread.join()
        return whole(*arguments, **options)

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", beside)
    np.testing.assert_array_equal(decode(saved(GREY)).pages[0, ..., 0], GREY)
    monkeypatch.setattr(
        tifffile.TiffPageSeries,
        "asarray",
        lambda *a, **o: logging.getLogger("tifffile").error("it") or whole(*a, **o),
    )
    with pytest.raises(InputError, match="is damaged"):
        decode(saved(GREY))
