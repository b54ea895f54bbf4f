"""The page of a case: planes with contours, the table by structure and side, doubts, model, research use."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

from itk_infer.outputs import report_picture as page_module
from itk_infer.outputs.drawing.words import drawable
from itk_infer.outputs.report_picture import ReportPictureOutput, report_picture, table_of
from itk_infer.outputs.sink import FinishedCase, OutputHeader
from itk_infer.predictor import Predictor
from itk_infer.spec import Label
from itk_infer.volume.grid import Grid
from itk_infer.volume.volume import Volume

TABLE = (
    Label(1, "kidney left", "#ff0000", 1),
    Label(2, "kidney_right", "#00c000", 2),
    Label(3, "liver", "#0000ff", 3),
)
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
def words(monkeypatch):
    """Every text that is drawn, with its place and colour."""
    from PIL import ImageDraw

    drawn = []

    class Pen(ImageDraw.ImageDraw):
        def text(self, xy, text, fill=None, *args, **keywords):
            drawn.append((xy, text, fill))
            super().text(xy, text, fill, *args, **keywords)

    monkeypatch.setattr(ImageDraw, "Draw", lambda image, mode=None: Pen(image, mode))
    return drawn


def case(labels, table=TABLE, spacing=(2.0, 1.0, 1.0), code="LPS", **more):
    grid = Grid(labels.shape, spacing)
    stored, turn = grid.reoriented(code)
    about = {"model": "kidneys", "model_version": "2", "model_sha256": "ab" * 32, "itk_infer": "0.1"}
    image = Volume(turn.apply(np.zeros(labels.shape, np.int16))[None], stored)
    header = OutputHeader(grid, grid.reoriented("LPS")[1], labels.shape, table, 4, about, image=image)
    return FinishedCase(header, labels, **more)


def kidneys():
    labels = np.zeros((20, 40, 50), np.uint8)
    labels[5:15, 10:30, 5:15] = 2
    labels[5:15, 10:30, 35:45] = 1
    labels[0, 0, 0] = 3
    return labels


def row_of(words, name):
    """What stands in the line of a structure."""
    ((_, top),) = [xy for xy, text, _ in words if text == name]
    return [text for (left, y), text, _ in sorted(words) if y == top and left < page_module.RIGHT]


def test_size_and_what_must_be_said(words):
    found = case(kidneys(), confidence={1: 0.91, 2: 0.87, 3: None}, doubts=("low confidence",))
    page = report_picture(found, "a.nii.gz", identity=("Doe", "1"), source="CT thin", time=NOON)
    assert page.shape == (760, 1060, 3)
    assert page.dtype == np.uint8
    texts = [text for _, text, _ in words]
    for said in (
        "a.nii.gz",
        "Doe   1",
        "CT thin",
        "kidneys 2",
        "ab" * 16,
        "itk_infer 0.1",
        "2026-05-04 12:00 UTC",
    ):
        assert said in texts
    assert "Research use only, not for diagnosis" in texts
    assert page_module.CONVENTION in texts
    amber = [text for _, text, colour in words if colour == page_module.AMBER]
    assert amber == ["to be looked at", "low confidence"]
    assert (np.asarray(page)[-5:, :, 0] > 100).all()  # the foot


def test_volumes_by_structure_and_side(words):
    report_picture(case(kidneys(), confidence={1: 0.91, 2: 0.87, 3: None}), "a", time=NOON)
    # 10 x 20 x 10 voxels of 2 mm3 each.
    assert row_of(words, "kidney") == ["kidney", "4", "4", "8", "4,000", "0.87"]
    assert row_of(words, "liver") == ["liver", "0.002", "1"]
    assert any(text == "all: 8.002 ml, 4,001 voxels" for _, text, _ in words)
    headings = {text: xy[0] for xy, text, _ in words if text in ("right ml", "left ml")}
    assert headings["right ml"] < headings["left ml"]


def test_a_structure_that_was_not_found_is_amber(words):
    labels = kidneys()
    labels[labels == 1] = 0
    report_picture(case(labels), "a")
    assert [text for _, text, colour in words if colour == page_module.AMBER] == ["not found"]
    assert next(colour for _, text, colour in words if text == "nothing unusual was noticed") == page_module.DIM
    assert row_of(words, "kidney") == ["kidney", "4", "not found", "4", "2,000"]


def test_planes_say_side_position_number_and_size(words):
    report_picture(case(kidneys()), "a")
    texts = [text for _, text, _ in words]
    assert [text for text in texts if text.startswith(("axial", "coronal", "sagittal"))] == [
        "axial S 10 mm, plane 6/20",
        "coronal P 10 mm, plane 11/40",
        "sagittal L 5 mm, plane 6/50",
    ]
    assert texts.count("10 mm") == 3
    for letter, times in {"R": 2, "L": 2, "A": 2, "P": 2, "S": 2, "I": 2}.items():
        assert texts.count(letter) == times


@pytest.mark.parametrize("code", ["RAS", "LPI", "SRA"])
def test_the_page_does_not_depend_on_the_stored_axes(code):
    pages = [report_picture(case(kidneys(), code=each), "a", time=NOON) for each in ("LPS", code)]
    np.testing.assert_array_equal(*pages)


def test_the_patients_right_is_on_the_left():
    page = report_picture(case(kidneys()), "a", time=NOON).astype(int)
    axial = page[66:394, 20:360]
    left = [
        int(np.median(np.nonzero(np.abs(axial - colour).max(axis=2) < 40)[1]))
        for colour in ((0, 192, 0), (255, 0, 0))
    ]
    assert left[0] < left[1]


def test_contours_and_no_fills():
    page = report_picture(case(kidneys()), "a", time=NOON).astype(int)
    planes = page[66:394]
    red = (planes[..., 0] - planes[..., 1] > 40).mean()
    assert 0.001 < red < 0.02


def test_structures_of_which_only_the_side_differs_share_a_row():
    names = [
        "Left-Thalamus",
        "Right-Thalamus",
        "left",
        "lung (right)",
        "lung (left)",
        "leftover",
        "left and right",
        "liver",
    ]
    rows = table_of([Label(value, name, "#ffffff", value) for value, name in enumerate(names, 1)])
    assert [(row.name, {side: label.value for side, label in row.labels.items()}) for row in rows] == [
        ("Thalamus", {"left": 1, "right": 2}),
        ("left", {"left": 3}),
        ("lung", {"right": 4, "left": 5}),
        ("leftover", {"": 6}),
        ("left and right", {"": 7}),
        ("liver", {"": 8}),
    ]


def test_names_of_which_there_are_two_stay_apart():
    rows = table_of(
        [Label(1, "cyst", "#ffffff", 1), Label(2, "cyst", "#ffffff", 2), Label(3, "left cyst", "#ffffff", 3)]
    )
    assert [label.value for row in rows for label in row.labels.values()] == [1, 2, 3]
    assert len(rows) == 3


def test_300_labels_and_long_words(words):
    labels = np.zeros((10, 60, 60), np.uint16)
    for value in range(1, 301):
        labels[2:8, 2 * (value // 30) : 2 * (value // 30) + 2, 2 * (value % 30) : 2 * (value % 30) + 2] = value
    labels[9, :40] = 77
    table = tuple(
        Label(value, f'structure "{value}", ' + "long " * 30, "#00c000", value) for value in range(1, 301)
    )
    doubts = tuple(f"doubt {number} " + "word " * 40 + "x" * 300 for number in range(30))
    page = report_picture(case(labels, table, doubts=doubts), "<script>" * 60, time=NOON)
    assert page.shape == (760, 1060, 3)
    texts = [text for _, text, _ in words]
    assert any(text.startswith('structure "77"') and text.endswith("...") for text in texts)
    assert "and 287 smaller structures" in texts
    assert "and more" in texts
    assert all(xy[1] < 760 - 16 for xy, *_ in words)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 30, 40), (30, 1, 1), (8, 9, 300)], ids=str)
@pytest.mark.parametrize("found", [True, False])
def test_strange_cases(shape, found):
    page = report_picture(case(np.full(shape, int(found), np.uint8)), "a", time=NOON)
    assert page.shape == (760, 1060, 3)


def test_letters_that_the_font_lacks():
    assert drawable("Gänge, Größe") == "Gange, Grosse"
    assert drawable("肝脏 1") == "?? 1"
    assert drawable("a\nb") == "a\\nb"


def test_a_name_that_cannot_be_drawn_is_told_by_its_value(words):
    report_picture(case(kidneys(), (Label(1, "肝脏", "#ff0000", 1), Label(2, "what?", "#00ff00", 2))), "a")
    texts = [text for _, text, _ in words]
    assert "?? (label 1)" in texts
    assert "what?" in texts


def test_written_and_read_back(tmp_path):
    found = case(kidneys())
    output = ReportPictureOutput(tmp_path / "a.report.png", found.header)
    output.abort()
    assert output.commit(found) == tmp_path / "a.report.png"
    with Image.open(tmp_path / "a.report.png") as picture:
        assert picture.size == (1060, 760)
    assert len(list(tmp_path.iterdir())) == 1


def test_without_an_image_there_is_no_page():
    found = case(kidneys())
    with pytest.raises(RuntimeError, match="without its image"):
        report_picture(replace(found, header=replace(found.header, image=None)), "a")


def test_the_program_hands_over_confidences_and_doubts(tmp_path, monkeypatch):
    """From the network to the page: what the page gets is what was measured."""
    import SimpleITK as sitk

    from itk_infer.model.kinds.fake import FakeBackend
    from itk_infer.outputs.opening import open_outputs
    from itk_infer.volume.volume import volume_of

    pages = []
    monkeypatch.setattr(
        page_module,
        "report_picture",
        lambda found, title, **about: pages.append((found, title)) or np.zeros((2, 2, 3), np.uint8),
    )
    volume = volume_of([sitk.GetImageFromArray(np.full((6, 7, 8), -100, np.int16))], "a")
    wanted = [("report_picture", tmp_path / "b.report.png")]
    measured = Predictor(FakeBackend()).run(
        volume, lambda header: open_outputs(wanted, replace(header, image=volume))
    )
    ((found, title),) = pages
    assert title == "b"
    assert found.doubts == ("nothing was found",)
    assert found.confidence == {item.label.value: item.confidence for item in measured.labels}
