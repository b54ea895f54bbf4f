"""Pictures with awkward names and labels: right in every output of pictures."""

from __future__ import annotations

import csv
import json
import re
import sys

import numpy as np
import pytest
from PIL import Image
from support import awkward
from support.awkward import EMPTY, MANY, MARKUP, NAMES, ONE

from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.predictor import Predictor
from itk_infer.run.folder import run_folder
from itk_infer.run.settings import RunSettings
from itk_infer.volume.pictures import read_label_picture

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such file names")
pytest.importorskip("pycocotools")
pytest.importorskip("tifffile")
SAVE = (
    "overlays",
    "contours",
    "palettes",
    "probabilities",
    "probability_pages",
    "probability_png",
    "yolo",
    "coco",
)


def images():
    """The plane of each volume that has most labels."""
    return {stem: array[len(array) // 2] for stem, array in awkward.images().items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("awkward")
    (root / "in").mkdir()
    for stem, array in images().items():
        Image.fromarray(array.astype(np.uint16)).save(root / "in" / f"{stem}.png")
    predictor = Predictor(FakeBackend(awkward.network, awkward.model_spec(dimensions=2)), orientation="input")
    settings = RunSettings(root / "in", root / "out", save=(*SAVE, "coco_polygons", "report"))
    assert sorted(run_folder(predictor, settings).done) == sorted(f"{stem}.png" for stem in images())
    return root / "out"


@pytest.mark.parametrize("stem", images())
def test_masks_and_drawings(folder, stem):
    expected = images()[stem]
    np.testing.assert_array_equal(read_label_picture(folder / f"{stem}.png")[0], expected)
    for kind in ("overlay", "contours"):
        with Image.open(folder / f"{stem}.{kind}.png") as drawn:
            assert drawn.size == expected.shape[::-1]
    with Image.open(folder / f"{stem}.palette.png") as drawn:
        colours = np.asarray(drawn.convert("RGB")).reshape(-1, 3)
        assert drawn.size == expected.shape[::-1]
    for value in np.unique(expected):  # one colour for each label
        assert len(np.unique(colours[expected.ravel() == value], axis=0)) == 1


@pytest.mark.parametrize("stem", images())
def test_probabilities(folder, stem):
    expected = (images()[stem] == np.arange(1, 301)[:, None, None]).astype(float)
    with np.load(folder / f"{stem}.probabilities.npz") as found:
        np.testing.assert_allclose(found["probabilities"], expected, atol=0.01)
        assert found["labels"].tolist() == list(range(1, 301))
    import tifffile

    pages = tifffile.imread(folder / f"{stem}.probabilities.tif")
    np.testing.assert_allclose(pages.reshape(expected.shape), expected, atol=0.01)
    with Image.open(folder / f"{stem}.probability.png") as found:
        grey = np.asarray(found).astype(float) / 65535
    np.testing.assert_allclose(grey, expected.sum(axis=0), atol=0.01)


@pytest.mark.parametrize("stem", images())
def test_polygons_for_yolo(folder, stem):
    lines = (folder / f"{stem}.txt").read_text("ascii").splitlines()
    assert {int(line.split()[0]) + 1 for line in lines} == set(np.unique(images()[stem]).tolist()) - {0}
    corners = np.array([float(number) for line in lines for number in line.split()[1:]])
    assert ((corners >= 0) & (corners <= 1)).all()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
def test_coco(folder):
    from pycocotools import mask

    found = json.loads((folder / "coco.json").read_text("utf-8"))
    assert [category["name"] for category in found["categories"]] == NAMES
    of_image = {image["id"]: image["file_name"].removesuffix(".png") for image in found["images"]}
    assert set(of_image.values()) == set(images())
    drawn = {stem: np.zeros_like(array) for stem, array in images().items()}
    for item in found["annotations"]:
        where = mask.decode(item["segmentation"]).astype(bool)
        assert where.sum() == item["area"]
        drawn[of_image[item["image_id"]]][where] = item["category_id"]
    for stem, array in images().items():
        np.testing.assert_array_equal(drawn[stem], array)
    polygons = json.loads((folder / "coco-polygons.json").read_text("utf-8"))
    assert len(polygons["annotations"]) == len(found["annotations"])
    assert [category["name"] for category in polygons["categories"]] == NAMES


def test_tables_and_report(folder):
    rows = list(csv.DictReader((folder / "report.csv").read_text("utf-8").splitlines()))
    cells = {row["case"].removeprefix("'").removesuffix(".png") for row in rows}
    assert cells == {MARKUP, ONE, EMPTY, MANY}
    page = (folder / "report.html").read_text("utf-8")
    assert re.findall(r"<script.*?>", page) == ["<script>"]
    assert "<b>lobe" not in page.split("</style>")[1].split("<script>")[0]
