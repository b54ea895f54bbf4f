"""Tables of classified images: studies summed up, every file in a row, nothing for a spreadsheet to run."""

from __future__ import annotations

import csv
import json

import openpyxl
import pytest
from support.results_db import ResultsMaker

from itk_infer.classify.tables.source import ResultsSource
from itk_infer.classify.tables.study_rule import study_rule
from itk_infer.classify.tables.summary import summary_lines
from itk_infer.classify.tables.write import TableSettings, write_tables
from itk_infer.errors import ConfigError, OutputError
from itk_infer.files.cells import text_cell


def rows_of(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folder(tmp_path):
    """Two studies in three folders, one that nobody can read, a copy, a conflict, names like formulas."""
    maker = ResultsMaker(tmp_path)
    maker.one("a/1.dcm", "S1", (0.1, 0.3), series="A", sop="u1", position=-2.5, patient="P1")
    maker.one("a/2.dcm", "S1", (0.9, 0.2), series="A", sop="u2", position=-10.0, patient="P1")
    maker.one("b/=1+1.dcm", "S1", (0.9, 0.41), series="B", sop="u3", patient="P1")
    maker.one("b/copy.dcm", "S1", (0.99, 0.99), series="B", sop="u2", state="copy", patient="P1")
    many = maker.file("c/many.dcm", "S2", series="C", sop="u4", patient="P2", frames=3)
    for frame, values in enumerate([(0.2, 0.2), (0.49999, 0.3), (0.3, 0.399)]):
        maker.image(many, values, frame=frame, position=float(frame))
    maker.one("c/other.dcm", "S2", (1.0, 1.0), series="C", sop="u4", state="conflict", patient="P2")
    maker.file("c/cut.dcm", "S2", state="failed", reason="is cut")
    maker.file("d/bad.dcm", "folder:d", state="failed", reason="is no DICOM")
    maker.file("d/notes.txt", state="skipped", reason="no picture")
    old = maker.one("e/old.dcm", "S3", (), series="E", sop="u9")
    maker.model("earlier")
    maker.db.execute("INSERT INTO predictions VALUES (?, 2, 0, 0.9, NULL, NULL)", (old,))
    maker.close()
    return tmp_path


def test_studies(folder):
    write_tables(folder)
    first, second, third, unread = rows_of(folder / "studies.csv")
    assert (first["study"], first["images"], first["copies"], first["state"]) == ("S1", "3", "1", "done")
    assert (first["needle"], first["needle positive"], first["needle image"]) == ("0.9", "1", "a/2.dcm")
    assert (first["pneumonia positive"], first["pneumonia image"]) == ("1", "b/=1+1.dcm")
    assert (second["images"], second["failed"], second["conflicts"], second["state"]) == (
        "3",
        "1",
        "1",
        "partly failed",
    )
    assert (second["needle"], second["needle positive"]) == ("0.49999", "0")
    assert second["needle image"] == "c/many.dcm [frame 1]"
    assert (third["study"], third["state"], third["needle"]) == ("S3", "empty", "")
    assert (unread["study"], unread["state"], unread["needle"], unread["failed"]) == (
        "folder:d",
        "failed",
        "",
        "1",
    )


def test_every_file_has_a_row(folder):
    write_tables(folder)
    rows = rows_of(folder / "images.csv")
    assert [(row["file"], row["frame"]) for row in rows if row["state"] == "counted"] == [
        *(("a/1.dcm", "0"), ("a/2.dcm", "0"), ("b/=1+1.dcm", "0")),
        *(("c/many.dcm", "0"), ("c/many.dcm", "1"), ("c/many.dcm", "2"), ("e/old.dcm", "0")),
    ]
    states = {row["file"]: (row["state"], row["reason"]) for row in rows}
    assert states["c/cut.dcm"] == ("failed", "is cut")
    assert states["d/notes.txt"] == ("skipped", "no picture")
    assert states["b/copy.dcm"] == ("copy", "")
    assert rows[-1]["needle std"] == ""


def test_slices_are_in_the_order_of_their_positions(folder):
    write_tables(folder)
    rows = rows_of(folder / "predictions_per_slice.csv")
    assert [(row["series"], row["slice"], row["position"], row["file"]) for row in rows[:3]] == [
        ("A", "0", "-10.0", "a/2.dcm"),
        ("A", "1", "-2.5", "a/1.dcm"),
        ("B", "0", "", "b/=1+1.dcm"),
    ]
    assert [row["needle positive"] for row in rows] == ["1", "0", "1", "0", "0", "0"]


def test_the_long_table_and_kaggle(folder):
    write_tables(folder, TableSettings(kaggle=True))
    long = rows_of(folder / "results.csv")
    assert [(r["study"], r["label"], r["threshold"], r["positive"]) for r in long[:2]] == [
        ("S1", "needle", "0.5", "1"),
        ("S1", "pneumonia", "0.4", "1"),
    ]
    lines = (folder / "kaggle.csv").read_bytes().decode().split("\n")
    assert lines[:2] == ["ID,Label", "ID_u1_needle,0.1"]
    assert "ID_u4_1_pneumonia,0.3" in lines
    assert len(lines) == 1 + 2 * 6 + 1


@pytest.mark.parametrize(
    ("by", "name", "keys"),
    [
        ("series", "series.csv", ["A", "B", "C", "E", "S2", "folder:d"]),
        ("patient", "patients.csv", ["P1", "P2", "S2", "S3", "folder:d"]),
        ("folder", "folders.csv", ["a", "b", "c", "d", "e"]),
    ],
)
def test_groups(folder, by, name, keys):
    write_tables(folder, TableSettings(group_by=by))
    assert [row[by] for row in rows_of(folder / name)] == keys


def test_rules(folder):
    found = {}
    for rule in ("mean", "top2_mean", "noisy_or", "max"):
        write_tables(folder, TableSettings(rule=rule))
        first = rows_of(folder / "studies.csv")[0]
        found[rule] = float(first["needle"])
        assert first["rule"] == rule
    assert found == pytest.approx({"mean": 1.9 / 3, "top2_mean": 0.9, "noisy_or": 1 - 0.9 * 0.1 * 0.1, "max": 0.9})
    with pytest.raises(ConfigError, match="`study_rule=median`: no such rule; there are max, mean"):
        write_tables(folder, TableSettings(rule="median"))
    with pytest.raises(ConfigError, match="`group_by=hospital`"):
        TableSettings(group_by="hospital")


def test_a_certain_image_makes_a_noisy_or_certain():
    total = study_rule("noisy_or")()
    for value in (0.5, 1.0, 0.2):
        total.add(value)
    assert total.result() == 1.0
    few = study_rule("top3_mean")()
    few.add(0.4)
    assert few.result() == 0.4


def test_no_cell_is_a_formula(folder):
    maker_rows = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"]
    assert [text_cell(text) for text in maker_rows] == [f"'{text}" for text in maker_rows]
    assert text_cell("a=1") == "a=1"
    assert text_cell("") == ""
    write_tables(folder, TableSettings(group_by="folder", xlsx=True))
    raw = (folder / "images.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbffile,frame,")
    assert raw.count(b"\r\n") == raw.count(b"\n")
    book = openpyxl.load_workbook(folder / "results.xlsx")
    assert book.sheetnames == ["folders", "images"]
    kinds = {cell.data_type for row in book["images"].iter_rows(max_col=1) for cell in row}
    assert kinds == {"s"}


def test_identifiers_keep_their_digits_in_the_workbook(tmp_path):
    maker = ResultsMaker(tmp_path)
    maker.one("00042/a.dcm", "00042", (0.25, 0.5), sop="=1+1")
    maker.close()
    write_tables(tmp_path, TableSettings(xlsx=True))
    sheet = openpyxl.load_workbook(tmp_path / "results.xlsx")["studies"]
    assert (sheet["A2"].value, sheet["A2"].data_type, sheet["G2"].value) == ("00042", "s", 0.25)
    images = openpyxl.load_workbook(tmp_path / "results.xlsx")["images"]
    assert (images["E2"].value, images["E2"].data_type, images["E2"].quotePrefix) == ("=1+1", "s", True)


def test_long_sheets_are_cut(tmp_path, monkeypatch):
    monkeypatch.setattr("itk_infer.classify.tables.workbook.MOST_ROWS", 1)
    maker = ResultsMaker(tmp_path)
    for number in range(3):
        maker.one(f"{number}.dcm", "S", (0.1, 0.2), sop=str(number))
    maker.close()
    summary = write_tables(tmp_path, TableSettings(xlsx=True))
    assert summary.notes == ["results.xlsx: its sheet images has the first 1 rows only"]
    assert openpyxl.load_workbook(tmp_path / "results.xlsx")["images"].max_row == 2


def test_a_table_that_was_changed_is_kept(folder):
    write_tables(folder)
    before = (folder / "studies.csv").read_bytes()
    assert write_tables(folder).notes == []  # its own tables are written again
    assert (folder / "studies.csv").read_bytes() == before
    (folder / "studies.csv").write_text("mine")
    (note,) = write_tables(folder, TableSettings(group_by="study")).notes
    assert (
        note == f"{folder / 'studies.csv'}: was changed since it was written, and is kept; `overwrite` replaces it"
    )
    assert (folder / "studies.csv").read_text() == "mine"
    assert write_tables(folder, TableSettings(overwrite=True)).notes == []
    assert (folder / "studies.csv").read_bytes() == before


def test_the_summary(folder):
    assert summary_lines(write_tables(folder)) == [
        "images: 6 (1 conflict, 1 copy, 1 without prediction, 2 files failed, 1 files skipped)",
        "last run: 20 images in 4.0 s, 5.0 images/s",
        "studies: 4, 2 of them without a readable image",
        "  needle     1 positive studies",
        "  pneumonia  1 positive studies",
        "  needle + pneumonia: 1",
        "  none of them: 1",
    ]


def test_the_threshold_itself_is_positive(tmp_path):
    maker = ResultsMaker(tmp_path)
    maker.one("1.dcm", "S", (0.5, 0.1), sop="1")
    maker.close()
    assert write_tables(tmp_path).positives == {"needle": 1, "pneumonia": 0}
    for name in ("studies.csv", "predictions_per_slice.csv"):
        assert rows_of(tmp_path / name)[0]["needle positive"] == "1"
    assert rows_of(tmp_path / "results.csv")[0]["positive"] == "1"


def test_a_file_that_waits_is_no_image(tmp_path):
    maker = ResultsMaker(tmp_path)
    maker.one("1.dcm", "S", (0.9, 0.1), sop="1")
    maker.one("2.dcm", "S", (0.2, 0.1), sop="2")
    maker.db.execute("UPDATE files SET state = 'waiting' WHERE path = '1.dcm'")
    maker.close()
    summary = write_tables(tmp_path)
    assert (summary.images["counted"], summary.files["waiting"]) == (1, 1)
    assert [(row["file"], row["state"]) for row in rows_of(tmp_path / "images.csv")] == [
        ("2.dcm", "counted"),
        ("1.dcm", "waiting"),
    ]


def test_a_database_that_cannot_be_written(folder, monkeypatch):
    import sqlite3

    connect = sqlite3.connect
    monkeypatch.setattr(
        "itk_infer.classify.tables.source.sqlite3.connect",
        lambda place, **more: connect(place.replace("mode=rw", "mode=ro"), **more),
    )
    with pytest.raises(
        OutputError, match=r"results\.db: cannot be written \(attempt to write a readonly database\)"
    ):
        write_tables(folder)
    assert not (folder / "studies.csv").exists()


def test_many_combinations(tmp_path):
    labels = [(f"l{k}", 0.5, None) for k in range(12)]
    maker = ResultsMaker(tmp_path, labels)
    for number in range(11):
        maker.one(
            f"{number}.dcm", f"S{number}", [float(k in (number, number + 1)) for k in range(12)], sop=str(number)
        )
    maker.run(1)
    maker.db.execute("UPDATE runs SET seconds = NULL WHERE id = 2")
    maker.close()
    lines = summary_lines(write_tables(tmp_path))
    assert lines[1] == "studies: 11"  # no speed of a run that has not ended
    assert lines[-2:] == ["  and 1 more combinations", "  none of them: 0"]


def test_tables_are_of_the_model_of_the_last_run(folder):
    import sqlite3

    with sqlite3.connect(folder / "results.db") as db:
        db.execute("INSERT INTO labels VALUES (2, 0, 'only', 0.5, NULL)")
        db.execute(
            "INSERT INTO runs (run, started, version, model, input, settings) VALUES ('x', '', '', 2, '', '')"
        )
    db.close()
    write_tables(folder)
    found = {row["study"]: row for row in rows_of(folder / "studies.csv")}
    assert found["S3"]["only"] == "0.9"
    assert found["S1"]["state"] == "empty"


def test_folders_without_results(tmp_path):
    with pytest.raises(ConfigError, match=r"results\.db: no such file; give the output folder"):
        write_tables(tmp_path)
    (tmp_path / "results.db").write_bytes(b"no database, and longer than a header of one would be" * 20)
    with pytest.raises(ConfigError, match="is no database of results"):
        write_tables(tmp_path)
    (tmp_path / "results.db").unlink()
    maker = ResultsMaker(tmp_path)
    maker.db.execute("DELETE FROM runs")
    maker.close()
    with pytest.raises(ConfigError, match="no model ran yet; run itk_infer classify"):
        write_tables(tmp_path)
    import sqlite3

    with sqlite3.connect(tmp_path / "results.db") as db:
        db.execute("UPDATE about SET value = '99'")
    db.close()
    with pytest.raises(ConfigError, match="was written by another version of itk_infer"):
        write_tables(tmp_path)


def test_studies_of_the_reference(shared, tmp_path):
    """Maximum, mean, mean of three and noisy-or of thirteen studies, from the expected probabilities."""
    folder = shared / "classify" / "expected"
    expected = json.loads((folder / "cxr2_studies.json").read_text())
    maker = ResultsMaker(tmp_path, [(name, 0.5, None) for name in expected["labels"]])
    with (folder / "cxr2_images.csv").open(encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file)):
            if row["state"] != "done" or row["same_as"] or row["conflict"]:
                continue
            values = float(row["densenet_pneumonia"]), float(row["densenet_needle"])
            maker.one(f"{number:03}/{row['file']}", row["study"], values, sop=f"{row['sop']}.{row['frame']}")
    maker.close()
    for rule in ("max", "mean", "top3_mean", "noisy_or"):
        write_tables(tmp_path, TableSettings(rule=rule))
        rows = {row["study"]: row for row in rows_of(tmp_path / "studies.csv")}
        assert rows.keys() == expected["studies"].keys()
        right = 0
        for key, study in expected["studies"].items():
            found = [float(rows[key][name]) for name in expected["labels"]]
            assert found == pytest.approx(study["densenet"][rule], abs=1e-6)
            assert rows[key]["images"] == str(study["images"])
            right += int(rows[key]["needle positive"]) == study["true_needle"]
        assert right == {"max": 13, "mean": 7, "top3_mean": right, "noisy_or": 13}[rule]


def test_a_database_elsewhere(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_tables(elsewhere, database=folder / "results.db")
    assert (elsewhere / "studies.csv").is_file()
    source = ResultsSource(folder / "results.db")
    assert source.members == [{"name": "net", "group": "", "sha256": "00"}]
    source.close()
