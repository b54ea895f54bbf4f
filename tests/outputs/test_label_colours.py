"""Overlays, contours and palettes of pictures, and polygons for YOLO."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from itk_infer.errors import OutputError
from itk_infer.outputs.drawing.flat import draw_flat
from itk_infer.outputs.label_colours import ContourOutput, OverlayOutput, PaletteOutput
from itk_infer.outputs.picture import STYLES, PictureOutput
from itk_infer.outputs.sink import FinishedCase, OutputHeader
from itk_infer.outputs.yolo import YoloOutput
from itk_infer.spec import Label
from itk_infer.volume.drawn_labels import draw, shown
from itk_infer.volume.grid import Grid
from itk_infer.volume.marks import label_mark
from itk_infer.volume.volume import Volume

RED, BLUE = Label(1, "nucleus", "#ff0000", 1), Label(3, "cell", "#0000ff", 2)
LABELS = np.zeros((8, 10), np.uint8)
LABELS[1:6, 2:7] = 1
LABELS[3, 4] = 0  # a hole
LABELS[6:, 8:] = 3


def case(array=None, table=(RED, BLUE), labels=LABELS):
    grid = Grid((1, *labels.shape), (1, 1, 1), oriented=False)
    turn = grid.reoriented(None)[1]
    image = None if array is None else Volume(array[:, None], grid)
    header = OutputHeader(grid, turn, grid.size, table, 3, {"model": "made up 1.0"}, image=image)
    return FinishedCase(header, labels[None])


def written(kind, tmp_path, finished):
    path = kind(tmp_path / "a.out.png", finished.header).commit(finished)
    with Image.open(path) as picture:
        return picture.copy()


@pytest.mark.parametrize("kind", [OverlayOutput, ContourOutput])
def test_lines_lie_inside_and_outside_nothing_changes(tmp_path, kind):
    grey = np.full((1, 8, 10), 100, np.uint8)
    found = np.asarray(written(kind, tmp_path, case(grey)))
    assert found.shape == (8, 10, 3)
    assert (found[LABELS == 0] == 100).all()
    assert found[1, 2].tolist() == [255, 0, 0]
    assert found[3, 3].tolist() == [255, 0, 0]  # beside the hole
    inside = [154, 65, 65] if kind is OverlayOutput else [100, 100, 100]  # 100 and 0.35 of red
    assert found[2, 4].tolist() == [255, 0, 0]
    wide = np.zeros((30, 30), np.uint8)
    wide[5:25, 5:25] = 1
    found = np.asarray(written(kind, tmp_path, case(np.full((1, 30, 30), 100, np.uint8), labels=wide)))
    assert found[15, 15].tolist() == inside


def test_lines_of_large_pictures_are_wider():
    labels = np.zeros((1300, 1300), np.uint8)
    labels[100:1200, 100:1200] = 1
    drawn = draw(np.zeros((1300, 1300, 3), np.uint8), labels, (RED,), 0.0)
    assert (drawn[600, :, 0] == 255).sum() == 4


@pytest.mark.parametrize(
    ("array", "low", "high"),
    [
        pytest.param(np.arange(80, dtype=np.uint8).reshape(1, 8, 10), 0, 79, id="8 bits as they are"),
        pytest.param(np.arange(80, dtype=np.uint16).reshape(1, 8, 10) * 800, 0, 255, id="16 bits"),
        pytest.param(np.arange(80, dtype=np.float32).reshape(1, 8, 10), 0, 255, id="floats"),
        pytest.param(np.zeros((1, 8, 10), np.uint16), 0, 0, id="constant"),
        pytest.param(np.arange(80).reshape(1, 8, 10) > 40, 0, 255, id="one bit"),
    ],
)
def test_what_is_shown(array, low, high):
    found = shown(Volume(array[:, None], Grid((1, 8, 10), (1, 1, 1))))
    assert (found.shape, found.min(), found.max()) == ((8, 10, 3), low, high)


def test_colours_are_shown_as_colours():
    colours = np.random.default_rng(0).integers(0, 256, (3, 8, 10), np.uint8)
    found = shown(Volume(colours[:, None], Grid((1, 8, 10), (1, 1, 1))))
    np.testing.assert_array_equal(found, np.moveaxis(colours, 0, -1))


def test_a_palette_keeps_values_and_shows_colours(tmp_path):
    picture = written(PaletteOutput, tmp_path, case())
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), LABELS)
    assert np.asarray(picture.convert("RGB"))[7, 9].tolist() == [0, 0, 255]
    assert label_mark(tmp_path / "a.out.png") == "a result of itk_infer"


def test_values_beyond_a_palette_are_numbered(tmp_path):
    table = (RED, replace(BLUE, value=3000))
    labels = LABELS.astype(np.uint16)
    labels[LABELS == 3] = 3000
    picture = np.asarray(written(PaletteOutput, tmp_path, case(table=table, labels=labels)))
    np.testing.assert_array_equal(picture, np.where(LABELS == 3, 2, LABELS))


def test_polygons_for_yolo(tmp_path):
    finished = case()
    path = YoloOutput(tmp_path / "a.txt", finished.header).commit(finished)
    first, second = path.read_text("ascii").splitlines()
    number, *corners = first.split()
    points = {(float(x) * 10, float(y) * 8) for x, y in zip(corners[::2], corners[1::2])}
    assert (number, points) == ("0", {(2, 1), (7, 1), (7, 6), (2, 6)})
    assert second.split()[0] == "1"


def test_a_picture_without_labels_has_an_empty_file(tmp_path):
    finished = case(labels=np.zeros((8, 10), np.uint8))
    assert YoloOutput(tmp_path / "a.txt", finished.header).commit(finished).read_bytes() == b""


@pytest.mark.parametrize("kind", [OverlayOutput, PaletteOutput, YoloOutput])
def test_a_missing_folder(tmp_path, kind):
    finished = case(np.zeros((1, 8, 10), np.uint8))
    output = kind(tmp_path / "gone" / "a.png", finished.header)
    with pytest.raises(OutputError, match="is not there"):
        output.commit(finished)
    output.abort()


def test_an_overlay_needs_its_picture(tmp_path):
    finished = case()
    with pytest.raises(RuntimeError, match="did not come"):
        OverlayOutput(tmp_path / "a.png", finished.header).commit(finished)


@pytest.mark.parametrize("style", STYLES)
def test_the_picture_of_a_picture_has_no_sides(tmp_path, style):
    finished = case(np.full((3, 8, 10), 100, np.uint8))
    finished = replace(finished, header=replace(finished.header, picture_style=style))
    found = np.asarray(written(PictureOutput, tmp_path, finished))
    assert found.shape == (8, 20 if style == "side-by-side" else 10, 3)
    assert found[1, found.shape[1] - 8].tolist() == [255, 0, 0]  # on a line of the last panel
    assert (found[0] == 100).all()


def test_large_pictures_of_pictures_shrink():
    labels = np.zeros((10, 3000), np.uint8)
    assert draw_flat(case(np.zeros((1, 10, 3000), np.uint8), labels=labels), "overlay").size == (1200, 4)


def test_of_several_pages_the_one_with_most_labels_is_drawn():
    labels = np.zeros((2, 8, 10), np.uint8)
    labels[1, 2:5, 2:5] = 1
    grid = Grid((2, 8, 10), (1, 1, 1), oriented=False)
    array = np.stack([np.full((8, 10), 10, np.uint8), np.full((8, 10), 20, np.uint8)])[None]
    header = replace(case(np.zeros((1, 8, 10), np.uint8)).header, image=Volume(array, grid))
    assert np.asarray(draw_flat(FinishedCase(header, labels), "contour"))[0, 0, 0] == 20
