"""`--summary`: what became of each case, for other programs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.cli.main import main
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.predictor import Predictor
from itk_infer.run.folder import run_folder
from itk_infer.run.settings import RunSettings
from itk_infer.spec.series_rule import parse_rules

pytest.importorskip("pydicom")


def summary_of(folder, **given):
    path = folder / "summary.json"
    ended = run_folder(Predictor(FakeBackend()), RunSettings(folder / "in", folder / "out", summary=path, **given))
    document = json.loads(path.read_text("utf-8"))
    assert document["exit_code"] == ended.exit_code
    return document


def test_series_and_why_volumes_outputs_and_reasons(tmp_path):
    from support.dicom_files import save_series, voxels
    from support.results import result

    ones = np.ones((3, 4, 5), np.int16)  # 60 voxels of 1.2 x 1 x 2 mm, all above zero
    save_series(tmp_path / "in" / "good", ones, study="good")
    save_series(
        tmp_path / "in" / "bad", voxels((3, 4, 5)), study="bad", position=[(0, 0, 0), (0, 0, 2), (0, 0, 9)]
    )
    result(tmp_path / "in" / "seg.dcm", "earlier", study="good")
    document = summary_of(tmp_path)
    cases = {case["case"]: case for case in document["cases"]}
    assert cases["good"]["state"] == "done"
    assert cases["good"]["series"] == [
        "series 7 'made up' (CT, 3 axial slices of 2 mm): the only one that may be meant"
    ]
    assert cases["good"]["volumes_ml"] == {"label 1": pytest.approx(0.144)}
    assert cases["good"]["outputs"] == ["good.nii.gz"]
    assert cases["good"]["seconds"] > 0
    assert cases["good"]["pushed"] == {}
    assert cases["bad"]["state"] == "failed"
    assert "spacing" in cases["bad"]["reason"]
    assert (cases["bad"]["outputs"], cases["bad"]["volumes_ml"]) == ([], {})
    assert [item["reason"].startswith("a segmentation") for item in document["passed_over"]] == [True]
    again = {case["case"]: case for case in summary_of(tmp_path)["cases"]}  # nothing was computed
    assert again["good"] == cases["good"]


def test_with_a_rule(tmp_path):
    from support.dicom_files import save_series, voxels

    for name in ("T1", "T2"):
        save_series(tmp_path / "in" / name, voxels((3, 4, 5)), series=name, SeriesDescription=name)
    rules = parse_rules({"series": {"all": [{"SeriesDescription": "T1"}], "prefer": ["thinnest"]}}, "rule")
    (case,) = summary_of(tmp_path, series=rules)["cases"]
    assert case["series"] == [
        "series 7 'T1' (CT, 3 axial slices of 2 mm): fits the rule, of 2 that may be meant, preferring thinnest"
    ]


def test_the_command_and_what_was_pushed(tmp_path, capsys):
    """A push notes in the summary where the objects of each case are."""
    from support.ports import free_port
    from support.results import result

    (tmp_path / "in").mkdir()
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((3, 4, 5), np.int16)), str(tmp_path / "in" / "a.nii.gz"))
    document = summary_of(tmp_path)
    assert document["cases"][0]["series"] == []
    result(tmp_path / "out" / "a.seg.dcm", "pushed")
    summary = tmp_path / "summary.json"
    document["cases"][0]["outputs"].append("a.seg.dcm")
    summary.write_text(json.dumps(document))
    target = f"orthanc=http://127.0.0.1:{free_port()}"
    command = ("push", str(tmp_path / "out"), "--to", target, "--wait", "0", "--summary", str(summary))
    assert main(command) == 4
    assert json.loads(summary.read_text())["cases"][0]["pushed"] == {target: {"waiting": 1}}
    summary.write_text("{}")
    assert main(command) == 2
    assert "is not the summary of a run; --summary of the run" in capsys.readouterr().err
    words = ("-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "-m", "none.onnx")
    assert main((*words, "--summary", str(tmp_path / "no" / "where.json"))) == 2
    assert "--summary" in capsys.readouterr().err
