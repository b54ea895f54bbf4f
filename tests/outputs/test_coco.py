"""COCO tables of made-up masks, read back by pycocotools."""

from __future__ import annotations

import json

import numpy as np
import pytest

from itk_infer.errors import InputError
from itk_infer.outputs.tables.coco import polygon_tables, tables
from itk_infer.outputs.tables.table import CaseRow, FolderView
from itk_infer.spec import Label
from itk_infer.volume.write_picture import write_label_picture

TABLE = (Label(1, "nucleus", "#ff0000", 1), Label(4, "cell", "#0000ff", 2))


def view(folder, masks, labels=TABLE):
    rows = [CaseRow(name, None, None, mask=name) for name in masks]
    return FolderView(rows, {"labels.csv": labels}, folder)


@pytest.fixture
def masks(tmp_path):
    """A mask of two labels with a hole and parts that touch at a corner, and one of two pages."""
    labels = np.zeros((1, 20, 30), np.uint8)
    labels[0, 2:9, 3:12] = 1
    labels[0, 4:6, 5:8] = 0
    labels[0, 9:12, 12:15] = 1
    labels[0, 15:, 20:] = 4
    write_label_picture(labels, tmp_path / "b.png", {})
    pages = np.zeros((2, 20, 30), np.uint8)
    pages[1, :3, :3] = 4
    pytest.importorskip("tifffile")
    write_label_picture(pages, tmp_path / "a.tif", {})
    return tmp_path, labels, pages


# Of pycocotools with NumPy 2, when it decodes.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_run_lengths_are_the_masks(masks):
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO

    folder, labels, _ = masks
    (table,) = tables(view(folder, ["b.png", "a.tif", "gone.png", "volume.nii.gz"])).values()
    table.write(folder / "coco.json")
    coco = COCO(folder / "coco.json")
    images = coco.loadImgs(coco.getImgIds())
    named = [(image["file_name"], image.get("page")) for image in images]
    assert named == [("a.tif", 0), ("a.tif", 1), ("b.png", None)]
    assert {c["id"]: c["name"] for c in coco.loadCats(coco.getCatIds())} == {1: "nucleus", 4: "cell"}
    found = coco.loadAnns(coco.getAnnIds(imgIds=images[2]["id"]))
    assert [(a["category_id"], a["area"], a["bbox"]) for a in found] == [
        (1, 7 * 9 - 6 + 9, [3, 2, 12, 10]),
        (4, 50, [20, 15, 10, 5]),
    ]
    back = sum(coco.annToMask(a) * a["category_id"] for a in found)
    np.testing.assert_array_equal(back, labels[0])
    (small,) = coco.loadAnns(coco.getAnnIds(imgIds=images[1]["id"]))
    assert (small["area"], small["bbox"]) == (9, [0, 0, 3, 3])
    assert coco.getAnnIds(imgIds=images[0]["id"]) == []


def test_polygons_lose_holes_and_say_so(masks):
    folder, _, _ = masks
    (table,) = polygon_tables(view(folder, ["b.png"])).values()
    table.write(folder / "coco-polygons.json")
    document = json.loads((folder / "coco-polygons.json").read_text("utf-8"))
    assert "lose the holes" in document["info"]["description"]
    first, second = document["annotations"]
    assert second["segmentation"] == [[30, 15, 30, 20, 20, 20, 20, 15]] or sorted(
        zip(second["segmentation"][0][::2], second["segmentation"][0][1::2])
    ) == [(20, 15), (20, 20), (30, 15), (30, 20)]
    (outline,) = first["segmentation"]
    assert len(outline) == 2 * 8  # two rectangles that touch at a corner, without the hole


def test_the_content_changes_with_a_mask(masks):
    folder, labels, _ = masks
    before = tables(view(folder, ["b.png"]))["coco.json"].content
    assert tables(view(folder, ["b.png"]))["coco.json"].content == before
    labels[0, 0, 0] = 1
    write_label_picture(labels, folder / "b.png", {})
    assert tables(view(folder, ["b.png"]))["coco.json"].content != before


def test_a_damaged_mask_is_an_error(masks):
    folder, _, _ = masks
    (folder / "b.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"b\.png"):
        polygon_tables(view(folder, ["b.png"]))["coco-polygons.json"].write(folder / "coco-polygons.json")
