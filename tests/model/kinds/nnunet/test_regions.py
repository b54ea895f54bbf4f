"""A model whose regions are written as one value twice, run by the command: mask, counts, ledger, tables, inspect."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import closing

import numpy as np
import pytest
import SimpleITK as sitk
from support.nnunet_folder import DATASET, architecture, random_state, write_model

from itk_infer.cli.main import main

torch = pytest.importorskip("torch", reason="needs the nnunet extra")

from itk_infer.model.kinds.nnunet.kind import build_network  # noqa: E402
from itk_infer.model.kinds.nnunet.model import read_model  # noqa: E402

REGIONS = {"background": 0, "left": [1, 2], "tumour": [2, 4], "right": [3, 4]}
ORDER = [1, 2, 1]
SIZE = (8, 16, 12)  # one window


@pytest.fixture
def model(tmp_path):
    dataset = {**DATASET, "labels": REGIONS, "regions_class_order": ORDER}
    # Weights by which every region of the order lies above, and below, in many voxels.
    return write_model(tmp_path / "m", dataset=dataset, state=random_state(architecture(), seed=73), axes=None)


def answers(model, image):
    """Logits of the network, (C, Z, Y, X), after nnU-Net's normalisation."""
    normal = (image - image.mean()) / image.std()
    with torch.inference_mode():
        return build_network(read_model(model)).eval()(torch.from_numpy(normal)[None, None])[0].numpy()


def test_a_value_is_painted_at_both_its_places(model, tmp_path, capfd):
    image = np.random.default_rng(0).normal(100, 30, SIZE).astype(np.float32)
    stored = sitk.GetImageFromArray(image)
    stored.SetSpacing((1.25, 1.5, 2.0))
    (tmp_path / "in").mkdir()
    sitk.WriteImage(stored, str(tmp_path / "in" / "a.nii.gz"))
    words = ["-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "-m", str(model), "--provider", "cpu"]
    assert main([*words, "--device", "cpu", "--orientation", "input", "--report"]) == 0
    note = "regions_class_order writes left and right as one value, 1: they are one label here"
    assert note in capfd.readouterr().err

    logits = answers(model, image)
    expected = np.zeros(SIZE, int)
    for region, value in zip(logits, ORDER, strict=True):
        expected[1 / (1 + np.exp(-region)) > 0.5] = value
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "a.nii.gz")))
    clear = (np.abs(logits) > 1e-4).all(axis=0)
    np.testing.assert_array_equal(found[clear], expected[clear])
    lungs, tumour = (logits[0] > 0) | (logits[2] > 0), logits[1] > 0
    assert (lungs & tumour & (found == 1)).any()  # painted above
    assert (lungs & tumour & (found == 2)).any()  # painted below

    with closing(sqlite3.connect(tmp_path / "out" / "itk_infer.db")) as ledger:
        results = json.loads(ledger.execute("select results from cases").fetchone()[0])
    report = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    counted = [(label["value"], label["name"], label["voxels"]) for label in results["findings"]]
    assert counted == [(1, "left / right", lungs.sum()), (2, "tumour", tumour.sum())]
    ml = {"left / right": lungs.sum() * 0.00375, "tumour": tumour.sum() * 0.00375}
    assert report["cases"][0]["volumes_ml"] == pytest.approx(ml)
    with open(tmp_path / "out" / "labels.csv", newline="", encoding="utf-8-sig") as file:
        named = [(row["LabelValue"], row["Name"]) for row in csv.DictReader(file)]
    assert named == [("1", "left / right"), ("2", "tumour")]


def test_inspect_lists_the_label_once(model, capsys):
    assert main(["inspect", "-m", str(model), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(label["value"], label["name"], label["channel"]) for label in found["labels"]] == [
        (1, "left / right", 0),
        (2, "tumour", 1),
    ]
    assert found["labels"][0]["also"] == [2]
    assert [label["value"] for label in found["spec"]["output"]["labels"]] == ORDER
