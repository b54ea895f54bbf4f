"""Commands over folders of classified images: tables and saliency after a run, report, evaluate."""

from __future__ import annotations

import csv
import json
import shutil
import sys

import pytest
from support.results_db import ResultsMaker

from itk_infer.cli.main import main


@pytest.fixture
def results(tmp_path):
    maker = ResultsMaker(tmp_path / "out")
    for number in range(12):
        values = (0.9, 0.2) if number % 3 == 0 else (0.2 + number / 100, 0.3)
        maker.one(f"{number:02}.dcm", f"S{number // 2}", values, series=f"A{number // 4}", sop=f"u{number}")
    maker.file("cut.dcm", "S9", state="failed", reason="is cut")
    maker.close()
    return tmp_path / "out"


def truth(path, key="sop", rows=12):
    """The needle is in every third image."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([key, "needle"])
        names = {"sop": "u{0}", "study": "S{0}"}[key]
        table.writerows([names.format(k), int(k % 3 == 0)] for k in range(rows))
    return path


def rows_of(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_report_writes_the_tables_again(results, capsys):
    assert main(("report", str(results))) == 0
    assert "studies: 7, 1 of them without a readable image" in capsys.readouterr().out
    for name in ("images.csv", "predictions_per_slice.csv", "studies.csv", "results.csv"):
        assert (results / name).is_file()
    assert (
        main(("report", str(results), "--group-by", "series", "--study-rule", "mean", "--kaggle", "--xlsx")) == 0
    )
    assert rows_of(results / "series.csv")[0]["rule"] == "mean"
    assert (results / "kaggle.csv").is_file()
    assert (results / "results.xlsx").is_file()
    (results / "series.csv").write_text("mine")
    assert main(("report", str(results), "--group-by", "series")) == 0
    assert "is kept; --overwrite replaces it" in capsys.readouterr().err
    assert main(("report", str(results), "--group-by", "series", "--overwrite")) == 0
    assert rows_of(results / "series.csv")[0]["rule"] == "max"
    assert not (results / "itk_infer.lock").exists()


def test_options_of_the_other_kind_of_folder(results, tmp_path, capsys):
    assert main(("report", str(results), "--html")) == 2
    assert "--html is for folders of masks" in capsys.readouterr().err
    assert main(("report", str(tmp_path), "--kaggle")) == 2
    assert "--kaggle is for output folders of itk_infer classify" in capsys.readouterr().err
    assert main(("report", str(results), "--study-rule", "middle")) == 2
    assert "--study-rule middle: no such rule" in capsys.readouterr().err
    table = str(truth(tmp_path / "t.csv"))
    assert main(("evaluate", str(results), table, "--lesions")) == 2
    assert "--lesions is for masks" in capsys.readouterr().err
    assert main(("evaluate", str(tmp_path), table, "--specificity", "0.5")) == 2
    assert "--specificity is for output folders" in capsys.readouterr().err


def test_evaluate_images_and_studies(results, tmp_path, capsys):
    table = truth(tmp_path / "t.csv")
    out = tmp_path / "scores" / "s.csv"
    assert main(("evaluate", str(results), str(table), "-o", str(out), "--html", "--specificity", "0.8")) == 0
    shown = capsys.readouterr()
    assert "needle  per image (4 of 12): AUC 1.000" in shown.out
    assert "needle  per study (4 of 6): AUC 1.000" in shown.out
    assert "1 of the study groups have no readable image" in shown.err
    image, study = rows_of(out)
    assert (image["level"], image["true_positives"], image["true_negatives"]) == ("image", "4", "8")
    assert (study["level"], study["sensitivity_at_0.8"], study["threshold_at_0.8"]) == ("study", "1.0", "0.9")
    page = out.with_suffix(".html").read_text()
    assert page.count("<svg") == 6
    assert "Per study" in page


def test_truth_of_studies(results, tmp_path, capsys):
    table = truth(tmp_path / "t.csv", "study", 6)
    assert main(("evaluate", str(results), str(table))) == 0
    assert "per image" not in capsys.readouterr().out
    assert main(("evaluate", str(results), str(table), "--group-by", "series")) == 2
    assert "--group-by series: the truth is about each study" in capsys.readouterr().err


def test_what_is_in_no_figure_is_said(results, tmp_path, capsys):
    table = truth(tmp_path / "t.csv", rows=3)
    table.write_text(table.read_text() + "u99,1\n")
    assert main(("evaluate", str(results), str(table))) == 0
    shown = capsys.readouterr()
    assert "needle  per image (1 of 3)" in shown.out
    assert (
        "needle  per study (1 of 1)" in shown.out
    )  # of the second study, one of two images is known, and negative
    assert "9 images have no truth and are in no figure" in shown.err
    assert "1 rows of the truth belong to no image" in shown.err
    (tmp_path / "none.csv").write_text("sop,needle,age\nu77,1,40\n")
    assert main(("evaluate", str(results), str(tmp_path / "none.csv"))) == 2
    assert "nothing in its column sop is in" in capsys.readouterr().err


@pytest.fixture
def networks(shared, tmp_path):
    pytest.importorskip("onnxruntime")
    models = shared / "classify" / "models"
    shutil.copytree(shared / "classify" / "cxr_studies" / "partly", tmp_path / "in" / "partly")
    return models


def test_classify_with_saliency(networks, tmp_path, capsys):
    models = ("-m", str(networks / "cxr2_densenet.onnx"), "-m", str(networks / "cxr2_seresnext.onnx"))
    words = ("classify", "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *models, "--provider", "cpu")
    assert main((*words, "--saliency", "gradcam", "--saliency-for", "all", "--xlsx")) == 3  # one file is cut
    shown = capsys.readouterr().err
    assert "2 panels: " in shown
    assert "studies: 1" in shown
    assert len(list((tmp_path / "out" / "saliency").rglob("*.png"))) == 2
    assert (tmp_path / "out" / "results.xlsx").is_file()
    assert rows_of(tmp_path / "out" / "studies.csv")[0]["state"] == "partly failed"
    manifest = json.loads((tmp_path / "out" / "saliency" / "run_manifest.json").read_text())
    assert manifest["methods"] == ["gradcam"]
    shutil.copyfile(tmp_path / "in" / "partly" / "IM0001.dcm", tmp_path / "in" / "partly" / "IM0002.dcm")
    # Again: what changed is read anew, and its panel replaced.
    assert main((*words, "--saliency", "gradcam")) == 3


def test_saliency_that_cannot_be_is_refused_before_a_run(networks, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx2torch", None)
    words = ("classify", "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"))
    words += ("-m", str(networks / "cxr2_densenet.onnx"), "--provider", "cpu")
    assert main((*words, "--saliency", "input_grad")) == 5
    assert "--saliency input_grad needs gradients" in capsys.readouterr().err
    assert main((*words, "--saliency", "gradcam", "--saliency-layer", "x")) == 5
    assert "--saliency-layer x: the closed form is known for" in capsys.readouterr().err
    assert main((*words, "--saliency-for", "all")) == 2
    assert "--saliency-for needs --saliency" in capsys.readouterr().err
    assert main((*words, "--saliency-layer", "x")) == 2
    assert main((*words, "--saliency", "gradcam", "--saliency-for", "most")) == 2
    assert "--saliency-for most: give positives" in capsys.readouterr().err
    assert main((*words, "--study-rule", "middle")) == 2
    assert main((*words, "--saliency", "gradcam", "--saliency-label", "nodule")) == 2
    assert "--saliency-label nodule: the model has no such label; there are pneumonia" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_saliency_of_a_torchscript_file(networks, tmp_path):
    pytest.importorskip("torch")
    words = ("classify", "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"))
    words += (
        "-m",
        str(networks / "cxr2_densenet_torchscript.pt"),
        "--spec",
        str(networks / "cxr2_densenet.classify.json"),
    )
    assert main((*words, "--saliency", "input_grad", "--saliency", "gradcam", "--saliency-for", "1")) == 3
    manifest = json.loads((tmp_path / "out" / "saliency" / "run_manifest.json").read_text())
    assert manifest["networks"][0]["how"] == "autograd"
    assert len(manifest["panels"]) == 1
