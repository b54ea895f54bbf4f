"""Pictures of cases: what is where, in which colour, and that every case can be drawn."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from PIL import Image

from itk_infer.errors import OutputError
from itk_infer.outputs.drawing.file import PART, part_of
from itk_infer.outputs.drawing.planes import OKABE_ITO, colours_of, cut, drawn
from itk_infer.outputs.picture import AMBER, STYLES, PictureOutput, draw
from itk_infer.outputs.sink import FinishedCase, OutputHeader
from itk_infer.spec import Label
from itk_infer.spec.labels import default_color
from itk_infer.volume.grid import Grid
from itk_infer.volume.volume import Volume

RED, GREEN = Label(1, "liver", "#ff0000", 1), Label(2, "spleen", "#00c000", 2)


def case(labels, code="LPS", image=None, table=(RED, GREEN), spacing=(1.0, 1.0, 1.0), soft_dice=None):
    """A case whose image and label map are stored in the orientation `code`; arrays are given in LPS."""
    grid = Grid(labels.shape, spacing)
    stored, turn = grid.reoriented(code)
    voxels = np.zeros(labels.shape, np.int16) if image is None else image
    header = OutputHeader(
        grid, grid.reoriented("LPS")[1], labels.shape, table, 3, image=Volume(turn.apply(voxels)[None], stored)
    )
    return FinishedCase(header, labels, soft_dice or {})


def blob(shape=(20, 30, 40), box=(slice(5, 15), slice(8, 22), slice(10, 30)), value=1):
    labels = np.zeros(shape, np.uint8)
    labels[box] = value
    return labels


def share_of(picture, colour, tolerance=40):
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    return (np.abs(pixels - np.asarray(colour)).max(axis=-1) < tolerance).mean()


@pytest.mark.parametrize("code", ["LPS", "RAS", "LPI", "SRA"])
def test_a_plane_shows_what_lies_there_whatever_the_stored_axes(code):
    """The patient's right is on the left, anterior on top; a bright cube marks right, anterior, superior."""
    labels = blob()
    image = np.zeros(labels.shape, np.int16)
    image[15:20, 0:6, 0:6] = 1000
    image[8:12, 12:16, 18:22] = 500
    first = draw(case(labels, "LPS", image), "a", "contour")
    np.testing.assert_array_equal(np.asarray(draw(case(labels, code, image), "a", "contour")), np.asarray(first))


def test_sides():
    labels = blob()
    for axis, (row, column) in enumerate([("A", "R"), ("S", "R"), ("S", "A")]):
        grey = np.zeros(labels.shape, np.uint8)
        corner = {"R": (2, slice(0, 3)), "A": (1, slice(0, 3)), "S": (0, slice(-3, None))}
        where = [slice(None)] * 3
        for letter in (row, column):
            where[corner[letter][0]] = corner[letter][1]
        grey[tuple(where)] = 255
        plane = cut(grey, labels, (1.0, 1.0, 1.0), axis, labels.shape[axis] // 2)
        assert plane.grey[0, 0] == 255
        assert plane.grey[-1, -1] == plane.grey[0, -1] == plane.grey[-1, 0] == 0


def test_millimetres_not_voxels():
    labels = blob((10, 20, 40), (slice(2, 8), slice(4, 16), slice(10, 30)))
    plane = cut(labels * 0, labels, (4.0, 2.0, 1.0), 1, 10)
    assert plane.size_mm == (40.0, 40.0)
    assert drawn(plane, 3.0, [], [], "image").size == (120, 120)


def test_a_small_structure_is_cut_out_with_a_margin():
    labels = blob((20, 200, 200), (slice(5, 15), slice(90, 110), slice(95, 100)))
    plane = cut(labels * 0, labels, (1.0, 1.0, 0.5), 0, 10)
    assert plane.grey.shape == (20 + 30, 5 + 60)
    assert plane.whole == (200.0, 100.0)
    assert plane.corner == (75.0, (95 - 30) * 0.5)
    at_edge = blob((20, 200, 200), (slice(5, 15), slice(0, 20), slice(195, 200)))
    assert cut(labels * 0, at_edge, (1.0, 1.0, 1.0), 0, 10).grey.shape == (35, 20)


def test_the_contour_lies_on_the_edge():
    """The line of a half plane runs where its voxels end, within half a pixel, and is as wide as said."""
    labels = np.zeros((1, 20, 20), np.uint8)
    labels[:, :, :10] = 1
    plane = cut(np.zeros(labels.shape, np.uint8), labels, (1.0, 1.0, 1.0), 0, 0)
    pixels = np.asarray(drawn(plane, 10.0, [RED], [RED.rgb], "contour"))[100, :, 0].astype(float)
    centre = (pixels * (np.arange(200) + 0.5)).sum() / pixels.sum()
    inner = slice(20, 180)
    centre = (pixels[inner] * (np.arange(200)[inner] + 0.5)).sum() / pixels[inner].sum()
    assert centre == pytest.approx(100, abs=0.5)
    assert pixels[inner].sum() / 255 == pytest.approx(1.6, abs=0.8)
    assert pixels[40:90].max() == pixels[110:160].max() == 0


def uncertain(labels, values=250):
    """Uncertainty along the edge of a label."""
    from scipy.ndimage import binary_dilation

    found = np.zeros(labels.shape, np.uint8)
    found[binary_dilation(labels != 0) & (labels == 0)] = values
    return found


def test_styles():
    labels = blob()
    image = np.full(labels.shape, 100, np.int16)
    image[0] = 0
    heights = {style: draw(case(labels, image=image), "a", style) for style in STYLES}
    assert heights["side-by-side"].height > heights["overlay"].height == heights["contour"].height
    assert heights["montage"].width > heights["overlay"].width
    tint = {style: share_of(picture, (255, 0, 0)) for style, picture in heights.items()}
    assert tint["contour"] > 0.001
    filled = np.asarray(heights["overlay"]).astype(int)
    reddish = (filled[..., 0] - filled[..., 1] > 20).mean()
    lines = np.asarray(heights["contour"]).astype(int)
    assert reddish > 3 * (lines[..., 0] - lines[..., 1] > 20).mean()


def test_uncertainty_is_a_third_column_and_on_one_scale_for_all_cases():
    labels = blob()
    image = np.full(labels.shape, 100, np.int16)
    image[0] = 0
    plain = case(labels, image=image)
    with_map = replace(plain, uncertainty=uncertain(labels))
    assert draw(with_map, "a").width > draw(plain, "a").width
    bright = (252, 255, 164)  # the last colour of inferno
    shares = [
        share_of(draw(replace(plain, uncertainty=uncertain(labels, values)), "a", "heatmap"), bright)
        for values in (0, 60, 250)
    ]
    assert shares[0] < 0.001 + shares[1]
    assert shares[1] < 0.5 * shares[2]
    # Certain tissue stays grey: nothing but the thin line and the words has a colour.
    certain = np.asarray(draw(replace(plain, uncertainty=uncertain(labels, 0)), "a", "heatmap")).astype(int)[
        60:300
    ]
    assert (np.abs(certain[..., 0] - certain[..., 2]) > 30).mean() < 0.002


def test_a_model_without_a_map_of_uncertainty_has_the_other_columns():
    assert draw(case(blob()), "a").width < draw(replace(case(blob()), uncertainty=uncertain(blob())), "a").width


def test_planes_of_a_montage_are_those_of_the_labels_from_superior_to_inferior():
    labels = blob((40, 30, 40), (slice(5, 15), slice(8, 22), slice(10, 30)))
    image = np.zeros(labels.shape, np.int16)
    for z in range(40):
        image[z] = 4 * z
    picture = draw(case(labels, image=image), "a", "montage")
    wide = draw(case(blob((40, 30, 40), (slice(0, 40), slice(8, 22), slice(10, 30))), image=image), "a", "montage")
    assert wide.height > 1.5 * picture.height  # 24 planes of 40 in four rows, 10 in two
    line = np.asarray(picture.convert("L")).astype(float)
    first, last = line[60:180, 40:60].mean(), line[60:180, 850:870].mean()
    assert first > last > 20


def test_dots_per_inch(tmp_path):
    finished = replace(case(blob()), uncertainty=uncertain(blob()))
    small, large = (draw(finished, "a", dpi=dpi) for dpi in (100, 300))
    assert large.width == pytest.approx(3 * small.width, rel=0.01)
    assert large.height == pytest.approx(3 * small.height, rel=0.02)
    header = replace(finished.header, picture_dpi=200, picture_style="overlay")
    PictureOutput(tmp_path / "a.png", header).commit(replace(finished, header=header))
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.info["dpi"] == pytest.approx((200, 200), abs=0.1)
        assert picture.size == draw(finished, "a", "overlay", 200).size


def test_the_part_that_shows_labels_is_told_to_the_montage(tmp_path):
    finished = replace(case(blob()), uncertainty=uncertain(blob()))
    PictureOutput(tmp_path / "a.png", finished.header).commit(finished)
    with Image.open(tmp_path / "a.png") as picture:
        part = part_of(picture)
        assert part.width < 0.5 * picture.width
        assert share_of(part, RED.rgb) > 2 * share_of(picture, RED.rgb)
        for words in (
            "",
            "1 2 3",
            "0 0 9999999 1",
            "5 5 4 9",
            f"0 0 {picture.width + 1} 5",
            "a b c d",
            "-1 0 5 5",
        ):
            picture.info[PART] = words
            assert part_of(picture) is picture


def test_a_case_with_doubts_says_so_in_words():
    plain = draw(case(blob()), "a", "overlay")
    doubtful = draw(replace(case(blob()), doubts=("low confidence", "x" * 500)), "a", "overlay")
    assert doubtful.height > plain.height
    amber = np.abs(np.asarray(doubtful).astype(int) - AMBER).max(axis=-1) < 10
    assert amber[:40, -100:].mean() > 0.2  # the chip
    assert not (np.abs(np.asarray(plain).astype(int) - AMBER).max(axis=-1) < 10).any()


def test_labels_that_no_plane_shows_get_a_row_of_their_own():
    labels = blob()
    one = draw(case(labels), "a", "overlay")
    labels[0, 0, 0] = 2  # not in the planes through the middle of the other
    two = draw(case(labels), "a", "overlay")
    assert two.height > one.height + 100
    assert share_of(two, GREEN.rgb) > share_of(one, GREEN.rgb)


def test_colours():
    chosen = [RED, Label(2, "grey", "#808080", 2)]
    assert colours_of(chosen)[0] == (255, 0, 0)
    assert colours_of(chosen)[1] == (0x56, 0xB4, 0xE9)  # a grey contour cannot be seen
    default = [Label(value, str(value), default_color(value), value) for value in range(1, 8)]
    assert ["#{:02x}{:02x}{:02x}".format(*colour) for colour in colours_of(default)] == list(OKABE_ITO)
    many = [Label(value, str(value), default_color(value), value) for value in range(1, 41)]
    assert len(set(colours_of(many))) == 40


STRANGE = {
    "nothing found": (np.zeros((5, 6, 7), np.uint8), None),
    "one voxel": (np.ones((1, 1, 1), np.uint8), None),
    "one plane": (blob((1, 30, 40), (slice(0, 1), slice(8, 20), slice(9, 30))), None),
    "one column": (np.ones((30, 1, 1), np.uint8), None),
    "float voxels": (blob(), np.random.default_rng(0).normal(size=(20, 30, 40)).astype(np.float32)),
    "all the same": (blob(), np.full((20, 30, 40), 7, np.uint8)),
}


@pytest.mark.parametrize(("name", "style"), list(product(STRANGE, STYLES)))
def test_strange_cases(name, style):
    labels, image = STRANGE[name]
    picture = draw(case(labels, image=image), "<script>" * 40, style)
    assert 400 < picture.width < 1400
    assert 100 < picture.height < 2500


def test_300_labels():
    labels = np.zeros((10, 60, 60), np.uint16)
    table = tuple(Label(value, f"structure {value}", default_color(value), value) for value in range(1, 301))
    for value in range(1, 301):
        labels[2:8, 2 * (value // 30) : 2 * (value // 30) + 2, 2 * (value % 30) : 2 * (value % 30) + 2] = value
    picture = draw(case(labels, table=table), "a", "overlay")
    assert picture.width < 1400


def test_written_and_read_back(tmp_path):
    finished = case(blob(), soft_dice={1: 0.87, 2: None})
    path = tmp_path / "a.png"
    assert PictureOutput(path, finished.header).commit(finished) == path
    with Image.open(path) as picture:
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(draw(finished, "a")))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]
    output = PictureOutput(tmp_path / "absent" / "a.png", finished.header)
    with pytest.raises(OutputError, match=r"a\.png"):
        output.commit(finished)
    output.abort()


def test_without_an_image_there_is_no_picture():
    finished = case(blob())
    with pytest.raises(RuntimeError, match="without its image"):
        draw(replace(finished, header=replace(finished.header, image=None)), "a")
