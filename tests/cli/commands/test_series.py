"""``itk_infer series``: the table, its JSON and the exit codes."""

from __future__ import annotations

import json

from support.dicom_files import save_series, voxels

from itk_infer.cli.main import main


def test_the_table(tmp_path, capsys):
    save_series(tmp_path / "a", voxels(), series="a", SeriesDescription="T1 axial", SeriesNumber=3)
    save_series(tmp_path / "b", voxels(), series="b", SeriesDescription="T2 axial", SeriesNumber=4)
    scout = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    save_series(tmp_path / "c", voxels(), series="c", SeriesNumber=1, ImageType=scout)
    (tmp_path / "notes.txt").write_text("no image")
    assert main(["series", str(tmp_path)]) == 0
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines[0].split() == [
        "study",
        "series",
        "modality",
        "plane",
        "grid",
        "mm",
        "state",
        "description",
        "folder",
    ]
    assert any("T1 axial" in line and "5 x 12 x 10" in line and "candidate" in line for line in lines)
    assert any("a localizer" in line for line in lines)
    assert "passed over 1 files" in told.err
    rule = tmp_path / "rule.json"
    rule.write_text('{"series": {"SeriesDescription": "T2"}}')
    assert main(["series", str(tmp_path), "--series", str(rule), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    states = {row["folder"]: row["state"] for row in document["series"]}
    assert states == {"a": "candidate", "b": "chosen", "c": "aside"}
    first = document["series"][0]
    assert first["verdict"] == "not chosen: not so that SeriesDescription matches 'T2'"
    assert (first["size"], first["spacing"], first["plane"]) == ([5, 12, 10], 2.0, "axial")


def test_preferences_and_refusals(tmp_path, capsys):
    save_series(tmp_path / "a", voxels(), series="a")
    save_series(tmp_path / "b", voxels((6, 4, 4)), series="b")
    rule = tmp_path / "rule.json"
    rule.write_text('{"all": [{"Modality": "CT"}], "prefer": ["most_slices"]}')
    assert main(["series", str(tmp_path), "--series", str(rule), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["series"]
    assert [(row["state"], row["verdict"]) for row in rows] == [
        ("candidate", "not chosen: the rule prefers another"),
        ("chosen", "can be segmented"),
    ]


def test_exit_codes(tmp_path, capsys):
    assert main(["series", str(tmp_path)]) == 6
    assert "no DICOM series is there" in capsys.readouterr().err
    save_series(tmp_path, voxels((1, 4, 4)))
    assert main(["series", str(tmp_path)]) == 6
    assert "single slice" in capsys.readouterr().out
    assert main(["series", str(tmp_path / "absent")]) == 2
    bad = tmp_path / "rule.json"
    for text in ("{", '{"Modalty": "x"}'):
        bad.write_text(text)
        assert main(["series", str(tmp_path), "--series", str(bad)]) == 2
    assert main(["series", str(tmp_path), "--series", str(tmp_path / "none.json")]) == 2
