"""Codes of labels as `inspect` shows them."""

from __future__ import annotations

import json

import pytest

from itk_infer.cli.main import main


@pytest.fixture
def words(tmp_path, shared):
    pytest.importorskip("onnxruntime")
    labels = [{"value": 1, "name": "box", "code": {"type": "Kidney", "side": "Left"}}]
    (tmp_path / "my.spec.json").write_text(json.dumps({"output": {"labels": labels}}), "utf-8")
    model = shared / "dicom" / "formula_box.onnx"
    return ["inspect", "-m", str(model), "--device", "cpu", "--spec", str(tmp_path / "my.spec.json")]


def test_codes_stand_beside_names(words, capsys):
    assert main(words) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("1  #"))
    assert line.endswith("  box  Kidney (SCT 64033007), Left")
    assert main([*words, "--json"]) == 0
    (label,) = json.loads(capsys.readouterr().out)["spec"]["output"]["labels"]
    assert label["code"]["side"] == {"value": "7771000", "scheme": "SCT", "meaning": "Left"}


def test_a_label_without_a_code_and_one_of_free_text(words, capsys, tmp_path):
    labels = [{"value": 1, "name": "box", "code": "Kidnee"}]
    (tmp_path / "my.spec.json").write_text(json.dumps({"output": {"labels": labels}}), "utf-8")
    assert main(words) == 0
    seen = capsys.readouterr()
    assert "  box  Kidnee" in seen.out
    assert (
        "label box: its type 'Kidnee' is no known code, and is written as free text; the table has 'Kidney'"
        in seen.err
    )
    del labels[0]["code"]
    (tmp_path / "my.spec.json").write_text(json.dumps({"output": {"labels": labels}}), "utf-8")
    assert main(words) == 0
    assert capsys.readouterr().out.rstrip().endswith("  box")
