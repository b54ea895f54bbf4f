"""Files by name and content: photos, arrays, volumes, and what holds no picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from itk_infer.errors import InputError
from itk_infer.spec.classify_spec import PictureChannel, PictureInput
from itk_infer.volume.picture_input.opening import open_pictures
from itk_infer.volume.picture_input.picture import NotAPicture

GREY = PictureChannel()


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "LA", "RGBA"])
def test_pictures_of_eight_bits(tmp_path: Path, mode: str) -> None:
    Image.new("L", (6, 4), 51).convert(mode).save(tmp_path / "a.png")
    plane = open_pictures(tmp_path / "a.png").picture(0).rows(GREY, PictureInput())[:]
    np.testing.assert_allclose(plane, np.full((4, 6), 0.2), atol=1e-6)


@pytest.mark.parametrize("channels", [2, 4])
def test_other_channels_are_refused(tmp_path: Path, channels: int) -> None:
    tifffile = pytest.importorskip("tifffile", reason="needs the images extra")
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((channels, 6, 8), np.uint8), metadata={"axes": "CYX"})
    with pytest.raises(InputError, match=f"a.ome.tif: has {channels} channels"):
        open_pictures(tmp_path / "a.ome.tif")


def test_sixteen_bits_are_kept(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.uint16).reshape(4, 6) * 2000
    Image.fromarray(values).save(tmp_path / "a.png")
    plane = open_pictures(tmp_path / "a.png").picture(0).rows(GREY, PictureInput())[:]
    np.testing.assert_allclose(plane, values / 65535, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "missing", "wanted"),
    [
        pytest.param(np.array([[0.0, 0.5], [0.25, 0.75]]), "minmax", [[0, 0.5], [0.25, 0.75]], id="0-to-1"),
        pytest.param(np.array([[-10, 10], [0, 5]], np.float32), "minmax", [[0, 1], [0.5, 0.75]], id="minmax"),
        pytest.param(np.full((2, 2), 7.0), "minmax", [[0, 0], [0, 0]], id="constant"),
        pytest.param(np.array([[0, 255], [51, 102]], np.uint8), "refuse", [[0, 1], [0.2, 0.4]], id="bytes"),
        pytest.param(np.array([[True, False]]), "minmax", [[1, 0]], id="switches"),
        pytest.param(np.array([[-32768, 32767]], np.int16), "range", [[0, 1]], id="range"),
    ],
)
def test_arrays(tmp_path: Path, values: np.ndarray, missing: str, wanted: list[list[float]]) -> None:
    np.save(tmp_path / "a.npy", values)
    plane = open_pictures(tmp_path / "a.npy").picture(0).rows(GREY, PictureInput(missing_voi=missing))[:]
    np.testing.assert_allclose(plane, wanted, atol=1e-6)


@pytest.mark.parametrize("name", ["a.tif", "a.npy", "a.npz"])
def test_pages_are_pictures(tmp_path: Path, name: str) -> None:
    pages = np.arange(5 * 24, dtype=np.uint8).reshape(5, 4, 6)
    if name == "a.tif":
        pytest.importorskip("tifffile", reason="needs the images extra").imwrite(
            tmp_path / name, pages, photometric="minisblack"
        )
    else:
        save = np.save if name == "a.npy" else np.savez
        save(tmp_path / name, pages)
    pictures = open_pictures(tmp_path / name)
    assert pictures.facts.frames == len(pictures.facts.positions) == 5
    assert "5 pages" in pictures.facts.note
    for number, page in enumerate(pages):
        plane = pictures.picture(number).rows(GREY, PictureInput())[:]
        np.testing.assert_allclose(plane, page / 255, atol=1e-6)


def test_what_was_changed_to_read_a_picture_is_noted(tmp_path: Path) -> None:
    Image.new("RGBA", (6, 4), (9, 9, 9, 7)).save(tmp_path / "a.png")
    note = "is transparent in places; the colours count, and the alpha channel is left out"
    assert open_pictures(tmp_path / "a.png").facts.note == note


def test_values_of_an_array(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[-100.0, 0, 100]]))
    picture = open_pictures(tmp_path / "a.npy").picture(0)
    np.testing.assert_array_equal(picture.rows(GREY, PictureInput(values="modality"))[:], [[-100, 0, 100]])
    window = PictureChannel(window=(0.0, 100.0))
    np.testing.assert_array_equal(picture.rows(window, PictureInput(values="modality"))[:], [[0, 0.5, 1]])
    with pytest.raises(InputError, match="has no window"):
        picture.rows(GREY, PictureInput(missing_voi="refuse"))[:]
    with pytest.raises(InputError, match="is grey"):
        picture.rows(PictureChannel("red"), PictureInput())[:]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.dcm", "", "is empty"),
        ("a.dcm", "text", "named as DICOM, and holds none"),
        ("a.png", "no png", "its content is no PNG"),
        ("a.npy", "no array", "its content is no PNG"),
        ("a.h5", "x", "which is not read"),
    ],
)
def test_damaged_files_fail(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(InputError, match=words):
        open_pictures(tmp_path / name)


@pytest.mark.parametrize(
    "values",
    [np.zeros((2, 2, 2, 2, 2)), np.array(["a"]), np.array([[np.nan]])],
    ids=["shape", "text", "nan"],
)
def test_arrays_that_are_no_pictures(tmp_path: Path, values: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(InputError):
        open_pictures(tmp_path / "a.npy")


@pytest.mark.parametrize("name", ["notes.txt", "README", "table.csv"])
def test_what_holds_no_picture_is_skipped(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("words", "utf-8")
    with pytest.raises(NotAPicture, match="no picture"):
        open_pictures(tmp_path / name)


@pytest.mark.parametrize("name", ["a", "a.png", "a.npy"])
def test_a_file_that_is_gone(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"cannot be (read|opened) \(No such file"):
        open_pictures(tmp_path / name)


def test_a_volume_is_its_slices(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((1, 1, 2.5))
    sitk.WriteImage(image, str(tmp_path / "a.nii.gz"))
    pictures = open_pictures(tmp_path / "a.nii.gz")
    assert pictures.facts.frames == 2
    assert pictures.facts.positions == (0.0, 2.5)
    pictures.check()
    np.testing.assert_array_equal(pictures.picture(1).rows(GREY, PictureInput(values="stored"))[:], values[1])
