"""The 55 files of shared/data/images2d, and what they do not cover: names, notes, headers, spacing beside a file."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itk_infer.errors import InputError
from itk_infer.volume.picture_volume import picture_volume
from itk_infer.volume.pictures import picture_header, picture_of, read_label_picture, read_picture, spacing_file
from itk_infer.volume.unit_values import unit_of

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "images2d" / "formats"
LISTED = json.loads((SHARED / "formats.json").read_text("utf-8")) if SHARED.is_dir() else {}
RAMP = np.arange(6 * 8, dtype=np.uint8).reshape(6, 8)
# 12-bit camera in 16 bits: the file does not say that 4080 is white.
WHITE = {"grey12_in_16.tif": 4080.0}
# Of the same bytes as float32.tif, without a NaN: see test_nan_and_infinity_are_refused for real ones.
WITHOUT_NAN = "float32_nan.tif"

tifffile = pytest.importorskip("tifffile")


@pytest.fixture(scope="module")
def base():
    with np.load(SHARED / "base.npz") as arrays:
        return {name: arrays[name] for name in arrays}


@pytest.mark.parametrize("name", [n for n, about in LISTED.items() if about["group"] in ("grey", "rgb")])
def test_right(name, base):
    """Its pixels are those of the one picture in all these files, as shares of white, within the stated tolerance."""
    about, picture = LISTED[name], read_picture(SHARED / name)
    found = picture.pixels / WHITE.get(name, picture.unit)
    expected = base[about["group"]] / 255
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= about["tolerance"] + 1e-6


@pytest.mark.parametrize("name", [n for n, about in LISTED.items() if about["group"] == "refused"])
def test_refused(name):
    if name == WITHOUT_NAN and (SHARED / name).read_bytes() == (SHARED / "float32.tif").read_bytes():
        pytest.skip("the file holds no NaN: it is a copy of float32.tif")
    with pytest.raises(InputError, match=rf"{name}: ") as caught:
        read_picture(SHARED / name)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "low", "high"),
    [
        ("one_bit.png", (1, 96, 128, 1), "bool", 0, 1),
        ("int16_negative.tif", (1, 96, 128, 1), "int16", -54, 126),
        ("ome_cyx.ome.tif", (1, 96, 128, 2), "uint8", 29, 226),
    ],
)
@pytest.mark.skipif(not LISTED, reason="the shared data folder is not beside this checkout")
def test_of_their_own_kind(name, shape, dtype, low, high):
    pages = read_picture(SHARED / name).pages
    assert (pages.shape, str(pages.dtype), int(pages.min()), int(pages.max())) == (shape, dtype, low, high)


@pytest.mark.skipif(not LISTED, reason="the shared data folder is not beside this checkout")
def test_five_pages_are_five_pictures(base):
    picture = read_picture(SHARED / "pages5.tif")
    for number, page in enumerate(picture.pages):
        np.testing.assert_array_equal(page[..., 0], np.roll(base["grey"], 5 * number, axis=1))
    assert "5 pages are taken as planes along Z" in picture.notes[0]
    with pytest.raises(InputError, match="5 pages"):
        _ = picture.pixels


@pytest.mark.parametrize("name", LISTED)
def test_the_header_alone_says_the_same(name):
    """Memory is planned from it. Damage behind the header is not seen."""
    try:
        picture = read_picture(SHARED / name)
    except InputError:
        pytest.skip("refused")
    header, spacing = picture_header(SHARED / name)
    assert (header.pages, header.height, header.width, header.channels) == picture.pages.shape
    assert (header.dtype, spacing) == (picture.pages.dtype, (1, 1, 1))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rgba_gradient.png", ["alpha channel is left out"]),
        ("rgba_opaque.png", []),
        ("exif_6.jpg", ["turned upright"]),
        ("exif_1.jpg", []),
        ("jpeg_named.png", ["is a JPEG by its content"]),
        ("rgb8.png", []),
        ("pyramid.tif", []),
    ],
)
@pytest.mark.skipif(not LISTED, reason="the shared data folder is not beside this checkout")
def test_what_was_changed_is_told(name, words):
    notes = read_picture(SHARED / name).notes
    assert len(notes) == len(words)
    assert all(note.startswith(f"{name}: ") and word in note for note, word in zip(notes, words))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("ending", ["tif", "npy"])
def test_nan_and_infinity_are_refused(tmp_path, ending, bad):
    array = np.zeros((4, 5), np.float32)
    array[1, 2] = bad
    path = tmp_path / f"a.{ending}"
    np.save(path, array) if ending == "npy" else tifffile.imwrite(path, array)
    with pytest.raises(InputError, match=r"^a\.\w+: holds 1 pixels that are NaN or infinite"):
        read_picture(path)


def test_digest_is_of_the_bytes_and_of_the_spacing_beside(tmp_path):
    path = tmp_path / "case_0000.tif"
    tifffile.imwrite(path, RAMP)
    assert read_picture(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    beside = tmp_path / "case.json"
    beside.write_text('{"spacing": [3, 0.5, 0.25]}')
    picture = read_picture(path)
    assert picture.spacing == (3.0, 0.5, 0.25)
    assert picture.sha256 == hashlib.sha256(path.read_bytes() + beside.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "beside", "found"),
    [
        ("case_0000.tif", "case.json", True),
        ("case.tiff", "case.json", True),
        ("case_0000.tif", "case_0000.json", True),
        ("case.png", "case.json", False),
        ("case_0000.tif", "cas.json", False),
        ("_0000.tif", ".json", False),
    ],
)
def test_where_the_spacing_is_looked_for(tmp_path, name, beside, found):
    (tmp_path / beside).write_text("{}")
    assert spacing_file(tmp_path / name) == (tmp_path / beside if found else None)


@pytest.mark.parametrize("text", ['{"spacing": [1, 2]}', '{"spacing": null}', "{", '{"spacing": ["a", 1, 1]}'])
def test_a_spacing_that_is_none_is_refused(tmp_path, text):
    tifffile.imwrite(tmp_path / "a.tif", RAMP)
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=r"a\.json: gives no spacing"):
        read_picture(tmp_path / "a.tif")


def test_a_json_of_another_program_is_none_of_ours(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RAMP)
    (tmp_path / "a.json").write_text('["annotations"]')
    assert read_picture(tmp_path / "a.tif").spacing == (1, 1, 1)


def test_a_label_map_with_a_palette_is_read_by_its_numbers(tmp_path):
    picture = Image.fromarray(RAMP % 3)
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label_picture(tmp_path / "a.png"), (RAMP % 3)[None])
    assert read_picture(tmp_path / "a.png").pixels.shape == (6, 8, 3)


def test_colours_are_no_label_map(tmp_path):
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: has 3 channels"):
        read_label_picture(tmp_path / "a.png")


def test_a_file_that_cannot_be_opened(tmp_path):
    with pytest.raises(InputError, match=r"cannot be opened \(No such file"):
        read_picture(tmp_path / "absent.png")


def test_arrays_in_memory():
    assert picture_of(RAMP).pages.shape == (1, 6, 8, 1)
    assert picture_of(np.dstack([RAMP] * 3)).pixels.shape == (6, 8, 3)
    for bad in (RAMP[0], RAMP[:0], np.zeros((5, 6, 7)), RAMP.astype(complex), np.full((2, 2), np.nan)):
        with pytest.raises(InputError, match="array"):
            picture_of(bad)


def test_what_white_is():
    units = {np.uint8: 255, np.uint16: 65535, np.bool_: 1, np.float32: 1}
    assert {kind: unit_of(np.dtype(kind)) for kind in units} == units
    with pytest.raises(InputError, match="signed integers"):
        unit_of(np.dtype(np.int16))


def test_pictures_that_are_channels_must_fit_each_other():
    one, colours, other = picture_of(RAMP), picture_of(np.dstack([RAMP] * 3)), picture_of(RAMP[1:])
    volume = picture_volume([one, one], "a", ["a_0000", "a_0001"])
    assert (volume.array.shape, volume.grid.oriented) == ((2, 1, 6, 8), False)
    with pytest.raises(InputError, match="a_0001 holds 3 channels"):
        picture_volume([one, colours], "a", ["a_0000", "a_0001"])
    with pytest.raises(InputError, match="a_0001 has 1 x 5 x 8 pixels"):
        picture_volume([one, other], "a", ["a_0000", "a_0001"])


@pytest.mark.skipif(os.name != "posix", reason="names of Unix")
def test_unprintable_names_are_escaped(tmp_path):
    path = tmp_path / "a\n.png"
    path.touch()
    with pytest.raises(InputError, match="is empty"):
        read_picture(path)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"^a\\n\.png: its content is no PNG"):
        read_picture(path)


def test_headers_that_are_refused(tmp_path):
    for name in ("bomb.png", "two_arrays.npz"):
        if LISTED:
            with pytest.raises(InputError, match=rf"^{name}: "):
                picture_header(SHARED / name)
    np.save(tmp_path / "a.npy", np.zeros(5))
    with pytest.raises(InputError, match=r"^a\.npy: holds an array of the shape"):
        picture_header(tmp_path / "a.npy")


def test_no_permission(tmp_path, monkeypatch):
    Image.fromarray(RAMP).save(tmp_path / "a.png")

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InputError, match=r"a\.png: cannot be read \(Permission denied\)"):
        read_picture(tmp_path / "a.png")
