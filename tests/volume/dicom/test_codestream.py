"""What compressed frames say of themselves, from the tables of the standards; streams here are made by hand."""

from __future__ import annotations

import pytest

from itk_infer.volume.dicom.codestream import check_jpeg, check_jpeg_2000, check_rle
from itk_infer.volume.dicom.elements import Damaged

START, END = b"\xff\xd8", b"\xff\xd9"
TABLE = b"\xff\xc4\x00\x05abc"  # has a length; 0xC4 is no frame header


def frame(rows=4, columns=6, samples=1, marker=0xC3):
    head = bytes([0xFF, marker, 0, 11, 12]) + rows.to_bytes(2, "big") + columns.to_bytes(2, "big")
    return head + bytes([samples]) + b"\x01\x11\x00"


def siz(rows=4, columns=6, left=0, tile=6, components=1):
    sizes = [columns + left, rows, left, 0, tile, tile, 0, 0]
    body = b"".join(size.to_bytes(4, "big") for size in sizes) + components.to_bytes(2, "big")
    return b"\xff\x4f\xff\x51\0\x29\0\0" + body + bytes(20) + END


@pytest.mark.parametrize("marker", [0xC0, 0xC1, 0xC3, 0xF7])
def test_jpeg_frames_of_all_families(marker):
    assert check_jpeg(START + b"\xff\xff" + TABLE + frame(marker=marker) + END + b"\0", 4, 6) == 12


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (b"\0" * 20 + END, "do not begin"),
        (START + frame(), "end marker"),
        (START + TABLE + b"\xff\xd0" + END, "no frame header"),
        (START + b"nonsense, not a marker" + END, "no frame header"),
        (START + frame(rows=5) + END, "another size"),
        (START + frame(samples=3) + END, "another size"),
    ],
    ids=["start", "end", "no frame", "nonsense", "rows", "colour"],
)
def test_jpeg_that_is_refused(stream, words):
    with pytest.raises(Damaged, match=words):
        check_jpeg(stream, 4, 6)


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (b"", "do not begin"),
        (siz()[:-2], "end marker"),
        (siz(rows=5), "another size"),
        (siz(components=3), "another size"),
        (siz(tile=0), "more tiles"),
    ],
    ids=["empty", "end", "rows", "colour", "tiles"],
)
def test_jpeg_2000_that_is_refused(stream, words):
    check_jpeg_2000(siz(left=2), 4, 6)
    check_jpeg_2000(b"jP  box" + siz(), 4, 6)
    with pytest.raises(Damaged, match=words):
        check_jpeg_2000(stream, 4, 6)


def rle(*offsets, length=100):
    words = [len(offsets), *offsets] + [0] * (15 - len(offsets))
    return b"".join(word.to_bytes(4, "little") for word in words).ljust(length, b"\0")


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (rle(64), "not as many"),
        (b"\2\0\0\0", "not as many"),
        (rle(64, 200), "cut short"),
        (rle(60, 80), "cut short"),
        (rle(64, 64), "cut short"),
    ],
    ids=["one segment", "short", "outside", "in the header", "equal"],
)
def test_rle_that_is_refused(stream, words):
    check_rle(rle(64, 80), 2)
    with pytest.raises(Damaged, match=words):
        check_rle(stream, 2)
