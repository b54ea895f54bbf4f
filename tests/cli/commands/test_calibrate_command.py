"""``itk_infer calibrate``, and verdicts of its file in the tables."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from openpyxl import load_workbook

from itk_infer.cli.main import main
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.predictor import Predictor
from itk_infer.run.folder import run_folder
from itk_infer.run.settings import RunSettings
from itk_infer.spec import parse_spec

CASES = 24


def save(path, array):
    path.parent.mkdir(exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))


def segment(labels=("liver",)):
    named = [{"value": index, "name": name} for index, name in enumerate(labels, 1)]
    spec = parse_spec({"output": {"labels": named}, "window": {"patch_size": [4, 8, 8]}}, "test")
    run_folder(Predictor(FakeBackend(spec=spec)), RunSettings(Path("scans"), Path("out")))


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Cases that are the worse the nearer their values are to 0; the network takes what is above 0."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for index in range(CASES):
        truth = np.zeros((6, 9, 10), np.uint8)
        truth[1:5, 2:7, 2:8] = 1
        noise = rng.normal(0, index / CASES, truth.shape)
        save(tmp_path / f"scans/{index:02}.nii.gz", ((truth * 2.0 - 1 + noise) * 2).astype(np.float32))
        save(tmp_path / f"truths/{index:02}.nii.gz", truth)
    segment()
    return tmp_path


BASIC = ("calibrate", "out", "truths", "-o", "calibration.json", "--workers", "1")


def verdicts():
    titles, *rows = load_workbook("out/confidences.xlsx").active.values
    found = (dict(zip(titles, row, strict=True)) for row in rows)
    return {row["file"]: row.get("verdict") for row in found}


def test_good_cases_are_accepted_and_bad_ones_are_not(scratch, capfd):
    assert main((*BASIC, "--limit", "0.9", "--failures", "0.2", "--confidence", "0.8")) == 0
    out, err = capfd.readouterr()
    assert out.startswith(f"{CASES} cases, confidence_foreground 0.")
    assert "at most 0.2 of the accepted have a Dice below 0.9, with a confidence of 0.8" in out
    assert "use it with itk_infer report out --calibration calibration.json" in err
    made = json.loads(Path("calibration.json").read_text())
    assert (made["cases"], made["limit"], made["score"]) == (CASES, 0.9, "confidence_foreground")
    assert main(("report", "out", "--calibration", "calibration.json")) == 0
    words = verdicts()
    assert words["00.nii.gz"].startswith("accept: Dice 1.00 expected, 0.8")
    assert words[f"{CASES - 1}.nii.gz"].startswith(("reject: ", "review: "))
    assert main(("report", "out")) == 0
    assert set(verdicts().values()) == {None}


def test_where_nothing_can_be_promised_nothing_is_accepted(scratch, capfd):
    assert main(BASIC) == 0
    out, err = capfd.readouterr()
    assert "nothing will be accepted: no confidence_foreground promises that at most 0.05 of the accepted" in out
    assert "this takes 45 cases with truth" in err
    assert main(("report", "out", "--calibration", "calibration.json")) == 0
    words = verdicts()
    assert words["00.nii.gz"].startswith("review: Dice 1.00 expected")
    assert "this calibration accepts nothing" in words["00.nii.gz"]


def test_masks_of_another_model_get_no_verdict(scratch, capfd):
    assert main(BASIC) == 0
    segment(("spleen",))
    assert main(("report", "out", "--calibration", "calibration.json")) == 0
    other = "no verdict: the calibration is of another model or other settings"
    assert set(verdicts().values()) == {other}


def test_masks_changed_by_hand_do_not_count(scratch, capfd):
    save(scratch / "out/03.nii.gz", np.ones((6, 9, 10), np.uint8))
    assert main(BASIC) == 0
    out, err = capfd.readouterr()
    assert out.startswith(f"{CASES - 1} cases")
    assert "03.nii.gz: does not count: the mask was changed by hand" in err
    assert main(("report", "out", "--calibration", "calibration.json")) == 0
    assert verdicts()["03.nii.gz"] == "no verdict: the measurements are not those of the mask"


def test_failures_and_cases_without_a_score_are_named(scratch, capfd):
    (scratch / "truths/02.nii.gz").write_bytes(b"no image")
    with sqlite3.connect("out/itk_infer.db") as ledger:
        change = (
            "UPDATE outputs SET results = json_set(results, '$.confidence_foreground', NULL) WHERE case_name = ?"
        )
        ledger.execute(change, ("04.nii.gz",))
    ledger.close()
    assert main(BASIC) == 3
    out, err = capfd.readouterr()
    assert out.startswith(f"{CASES - 2} cases")
    assert "failed: 02" in err
    assert "04: does not count: it has no confidence_foreground" in err


def test_too_few_cases(scratch, capfd):
    for index in range(5):
        (scratch / f"truths/{index:02}.nii.gz").unlink()
    assert main(BASIC) == 2
    assert "19 cases are too few to calibrate" in capfd.readouterr().err
    assert not Path("calibration.json").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*BASIC, "--limit", "1.5"), "--limit 1.5: give a number between 0 and 1"),
        ((*BASIC, "--coverage", "0"), "--coverage 0: give a number between 0 and 1"),
        ((*BASIC, "--score", "luck"), "--score luck: the ledger has no such number; it has confidence"),
        (("calibrate", "scans", "truths", "-o", "c.json"), "holds no itk_infer.db"),
        (("report", "out", "--calibration", "gone.json"), "--calibration gone.json: cannot be read"),
        (("report", "out", "--calibration", "out/labels.csv"), "is no calibration file"),
    ],
)
def test_wrong_options(scratch, capfd, words, message):
    assert main(words) == 2
    assert message in capfd.readouterr().err


def test_a_run_writes_verdicts_too(scratch, capfd):
    assert main(BASIC) == 0
    demo = Path(__file__).resolve().parents[3] / "itk_infer" / "demo"
    model = ("-m", str(demo / "hippocampus_unet.onnx"), "--device", "cpu", "--calibration", "calibration.json")
    for options, message in (
        (("-i", "scans", "-o", "masks", *model, "--shard", "1/2"), "a shard writes no tables"),
        (("-i", "scans/00.nii.gz", "-o", "one.nii.gz", *model), "one output file has no tables"),
    ):
        assert main(options) == 2
        assert message in capfd.readouterr().err
    pytest.importorskip("onnxruntime")
    scan = demo / "mni152_hippocampus_left.nii.gz"
    assert main(("-i", str(scan), "-o", "masks", *model, "--quiet")) == 0
    titles, row = load_workbook("masks/confidences.xlsx").active.values
    assert row[titles.index("verdict")].startswith("no verdict: the calibration is of another model")
