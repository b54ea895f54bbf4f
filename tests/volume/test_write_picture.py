"""Label maps and arrays as pictures: read back by other programs, marked, never half written."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from itk_infer.errors import OutputError
from itk_infer.volume.marks import label_mark
from itk_infer.volume.write_picture import write_label_picture, write_png, write_tiff

LABELS = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
KEYS = {"itk_infer_model": "cells 1.0"}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("ending", ["png", "tif", "npy"])
def test_values_and_marks(tmp_path, ending, dtype):
    labels, path = (LABELS * (60 if dtype == np.uint16 else 1)).astype(dtype), tmp_path / f"a.{ending}"
    write_label_picture(labels, path, KEYS)
    if ending == "npy":
        found = np.load(path)
    elif ending == "png":
        with Image.open(path) as picture:
            found = np.asarray(picture)
            assert picture.text == KEYS
    else:
        found = pytest.importorskip("tifffile").imread(path)
    np.testing.assert_array_equal(found, labels[0])
    assert found.dtype == dtype
    assert label_mark(path) == ("" if ending == "npy" else "a result of itk_infer")
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", ["tif", "npy"])
def test_pages(tmp_path, ending):
    labels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_label_picture(labels, tmp_path / f"a.{ending}", KEYS)
    tifffile = pytest.importorskip("tifffile")
    found = np.load(tmp_path / "a.npy") if ending == "npy" else tifffile.imread(tmp_path / "a.tif")
    np.testing.assert_array_equal(found, labels)


def test_pictures_of_others_have_no_mark(tmp_path):
    Image.fromarray(LABELS[0]).save(tmp_path / "a.png")
    assert label_mark(tmp_path / "a.png") == ""


@pytest.mark.parametrize("ending", ["png", "tif", "npy"])
def test_what_does_not_read_back_is_not_there(tmp_path, monkeypatch, ending):
    tifffile = pytest.importorskip("tifffile")
    changed = LABELS[0].copy()
    changed[0, 0] = 77
    real = Image.open
    monkeypatch.setattr(tifffile, "imread", lambda path: changed)
    monkeypatch.setattr(np, "load", lambda path, **options: changed)

    def opened(path):
        real(path).close()
        return Image.fromarray(changed)

    monkeypatch.setattr(Image, "open", opened)
    with pytest.raises(OutputError, match="does not read back"):
        write_label_picture(LABELS, tmp_path / f"a.{ending}", KEYS)
    assert list(tmp_path.iterdir()) == []


def test_other_numbers(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    pages = np.linspace(0, 1, 12, dtype=np.float32).reshape(1, 3, 4)
    write_tiff(pages, tmp_path / "a.tif", KEYS)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), pages[0])
    write_png(np.full((2, 2), 40000, np.uint16), tmp_path / "a.png", {"a": "Größe 腦"})
    with Image.open(tmp_path / "a.png") as picture:
        assert np.asarray(picture)[0, 0] == 40000
