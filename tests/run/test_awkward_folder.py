"""Names with markup, labels with quotes and commas, one voxel, nothing found, 300 labels: right in every output."""

from __future__ import annotations

import csv
import html
import json
import re
import sys
from contextlib import closing

import numpy as np
import pytest
import SimpleITK as sitk
import zarr
from openpyxl import load_workbook
from PIL import Image
from support import awkward
from support.awkward import AWKWARD, NAMES

from itk_infer.cli.main import main
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.predictor import Predictor
from itk_infer.run.folder import run_folder
from itk_infer.run.ledger import Ledger
from itk_infer.run.settings import RunSettings
from itk_infer.viewer.session import Session

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such file names")
MARKUP, ONE, EMPTY, MANY = (f"{stem}.mha" for stem in awkward.STEMS)
SAVE = (
    "channel_masks",
    "logits",
    "pictures",
    "report_picture",
    "uncertainty",
    "workbook",
    "report",
    "montage",
)


def images():
    return {f"{name}.mha": array for name, array in awkward.images().items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("awkward")
    (root / "in").mkdir()
    for name, array in images().items():
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((1.0, 1.0, 2.0))
        sitk.WriteImage(image, str(root / "in" / name))
    predictor = Predictor(FakeBackend(awkward.network, awkward.model_spec()), orientation="input")
    for label_format in ("same", "seg.nrrd"):
        summary = run_folder(predictor, RunSettings(root / "in", root / "out", format=label_format, save=SAVE))
        assert sorted(summary.done) == sorted(images())
    return root / "out"


def stem(name):
    return name.removesuffix(".mha")


@pytest.mark.parametrize("name", images())
def test_label_maps(folder, name):
    expected = images()[name]
    for path in (folder / name, folder / f"{stem(name)}.seg.nrrd"):
        image = sitk.ReadImage(str(path))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), expected)
    for index in (0, 1, 2, 3, 299):
        assert image.GetMetaData(f"Segment{index}_Name") == NAMES[index]
        assert image.GetMetaData(f"Segment{index}_LabelValue") == str(index + 1)


@pytest.mark.parametrize("name", images())
def test_channel_masks_and_logits(folder, name):
    masks = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"{stem(name)}_channels.nii.gz")))
    np.testing.assert_array_equal(masks, images()[name] == np.arange(1, 301)[:, None, None, None])
    logits = zarr.open_array(folder / f"{stem(name)}.zarr", mode="r")
    assert [label["name"] for label in logits.attrs["labels"]] == NAMES
    np.testing.assert_array_equal(logits[:].argmax(axis=0), images()[name])


@pytest.mark.parametrize("name", images())
def test_pictures_and_maps(folder, name):
    with (
        Image.open(folder / f"{stem(name)}.png") as picture,
        Image.open(folder / f"{stem(name)}.report.png") as page,
    ):
        assert picture.width > 400
        assert page.size == (1060, 760)
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"{stem(name)}.uncertainty.nii.gz")))
    assert found.shape == images()[name].shape
    assert found.max() < 5  # every voxel is certain
    with Image.open(folder / "montage.png") as picture:
        assert picture.width > 400


def test_label_table(folder):
    rows = list(csv.DictReader((folder / "labels.csv").read_text("utf-8").splitlines()))
    assert [row["Name"] for row in rows] == [name.replace('"', "'") for name in NAMES]  # Slicer reads no quotes
    assert [int(row["LabelValue"]) for row in rows] == list(range(1, 301))


def test_spreadsheet(folder):
    rows = list(load_workbook(folder / "confidences.xlsx").active.iter_rows())
    titles = [cell.value for cell in rows[0]]
    of_mask = {row[titles.index("mask")].value: row for row in rows[1:]}
    assert set(of_mask) == {*images(), *(f"{stem(name)}.seg.nrrd" for name in images())}

    def cell(mask, title):
        return of_mask[mask][titles.index(title)]

    assert cell(MARKUP, "file").value == MARKUP
    assert cell(MARKUP, f"volume {NAMES[0]} (ml)").value == pytest.approx(36 * 0.002)
    assert cell(MARKUP, f"volume {NAMES[2]} (ml)").value == pytest.approx(36 * 0.002)
    assert cell(ONE, "volume =1+1 (ml)").value == pytest.approx(0.002)
    assert cell(MANY, f"volume {NAMES[299]} (ml)").value == pytest.approx(10 * 0.002)
    assert cell(EMPTY, "file").data_type == "s"  # no formula
    assert "nothing was found" in cell(EMPTY, "review").value
    assert cell(EMPTY, "worst soft Dice").value == 0


def test_report(folder):
    page = (folder / "report.html").read_text("utf-8")
    scripts = re.findall(r"<script.*?>", page)
    assert scripts == ["<script>"]
    assert "<b>lobe" not in page.split("</style>")[1].split("<script>")[0]
    shown = html.unescape(re.sub(r"<[^>]*>", "", page))
    for words in (MARKUP, EMPTY, NAMES[0] + " 0.072 ml", "=1+1 0.002 ml", "and 288 more labels"):
        assert words in shown
    cases = {case["mask"]: case for case in json.loads((folder / "report.json").read_text())["cases"]}
    assert cases[MARKUP]["volumes_ml"][NAMES[0]] == pytest.approx(0.072)
    assert len(cases[MANY]["volumes_ml"]) == 300
    assert cases[EMPTY]["reasons"].startswith("nothing was found")
    rows = {row["mask"]: row for row in csv.DictReader((folder / "report.csv").read_text("utf-8").splitlines())}
    assert rows[MARKUP]["case"] == MARKUP
    assert rows[EMPTY.replace("=", "'=")]["case"] == f"'{EMPTY}"
    assert float(rows[MARKUP][f"volume {NAMES[0]} (ml)"]) == pytest.approx(0.072)


def test_ledger(folder):
    with closing(Ledger(folder, read_only=True)) as ledger:
        findings = {name: case.results["findings"] for name, case in ledger.cases().items()}
    assert [item["name"] for item in findings[MANY]] == NAMES
    assert [item["voxels"] for item in findings[MANY]] == [10] * 300
    assert sum(item["voxels"] for item in findings[EMPTY]) == 0
    assert {item["name"]: item["voxels"] for item in findings[ONE] if item["voxels"]} == {"=1+1": 1}


def test_viewer(folder):
    session = Session(folder)
    shown = {case["case"]: case for case in session.cases()}
    assert set(shown) == set(images())
    assert [label["name"] for label in shown[MANY]["labels"]] == NAMES
    for case in shown.values():
        assert case["uncertainty"]
        for part in ("labels", "uncertainty"):
            assert session.volume(case["id"], part)


def test_evaluation(folder, tmp_path, capfd):
    """Against themselves: every label of every case agrees, and no name is markup."""
    for kind in ("masks", "truths"):
        (tmp_path / kind).mkdir()
        for name in images():
            (tmp_path / kind / name).write_bytes((folder / name).read_bytes())
    table = tmp_path / "truths" / "labels.csv"
    table.write_bytes((folder / "labels.csv").read_bytes())
    (tmp_path / "masks" / "labels.csv").write_bytes(table.read_bytes())
    words = (
        "evaluate",
        str(tmp_path / "masks"),
        str(tmp_path / "truths"),
        "-o",
        str(tmp_path / "m.csv"),
        "--html",
    )
    assert main((*words, "--tolerance", "1", "--workers", "1")) == 0
    capfd.readouterr()
    rows = [row for row in csv.DictReader((tmp_path / "m.csv").read_text("utf-8").splitlines()) if row["dice"]]
    assert len(rows) == 2 + 1 + 300
    assert {float(row["dice"]) for row in rows} == {1.0}
    assert {row["label"] for row in rows} >= {name.replace('"', "'") for name in AWKWARD if name[0] != "="}
    page = (tmp_path / "m.html").read_text("utf-8")
    assert "<script>alert" not in page
    assert "<b>lobe" not in page


def test_postprocessing(folder, tmp_path, capfd):
    """Names are those of the run, quotation marks included, in label maps, segmentations and channel masks."""
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps([{"op": "min_size", "ml": 0.05, "labels": [NAMES[0], "a,b;c"]}]))
    assert main(("postprocess", str(folder), "-o", str(tmp_path / "out"), "--postprocess", str(rules))) == 0
    assert f"{MANY}: rule 1 min_size: {NAMES[0]} 10 to 0 voxels" in capfd.readouterr().out
    for name, array in images().items():
        expected = np.where(np.isin(array, (1, 3)), 0, array) if name == MANY else array
        for ending in (".mha", ".seg.nrrd"):
            found = sitk.ReadImage(str(tmp_path / "out" / f"{stem(name)}{ending}"))
            np.testing.assert_array_equal(sitk.GetArrayFromImage(found), expected)
        assert [found.GetMetaData(f"Segment{index}_Name") for index in range(300)] == NAMES
        masks = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / f"{stem(name)}_channels.nii.gz")))
        np.testing.assert_array_equal(masks, expected == np.arange(1, 301)[:, None, None, None])
