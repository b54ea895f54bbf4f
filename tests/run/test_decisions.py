"""Decisions about masks: they come back from a CSV file, and no longer count when the mask changes."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import closing

import pytest

from itk_infer.cli.main import main
from itk_infer.errors import ConfigError
from itk_infer.run.decision import Review
from itk_infer.run.decisions import COLUMNS, mask_digests, valid_reviews
from itk_infer.run.ledger import Ledger


@pytest.fixture
def reviewed(folder):
    """Two scans that were segmented."""
    folder.scan("a.mha", 0)
    folder.scan("b.mha", 1)
    folder.run()
    return folder


def digests(folder):
    with closing(Ledger(folder.output, read_only=True)) as ledger:
        return mask_digests(folder.output, ledger.outputs())


def decisions(folder):
    """Verdict, person and note by mask, of the decisions that count."""
    with closing(Ledger(folder.output, read_only=True)) as ledger:
        found = valid_reviews(ledger, mask_digests(folder.output, ledger.outputs()))
    return {path: (review.verdict, review.who, review.note) for path, review in found.items()}


def write_csv(folder, *rows, columns=COLUMNS, delimiter=","):
    path = folder.source.parent / "decisions.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        table = csv.writer(file, delimiter=delimiter)
        table.writerow(columns)
        table.writerows(rows)
    return path


def row(folder, mask, verdict, who="kim", when="2030-01-01T00:00:00Z", note=""):
    return (mask, mask, digests(folder)[mask], verdict, who, when, note)


def take(folder, path):
    return main(["report", str(folder.output), "--decisions", str(path)])


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_decisions_come_back_from_a_file(reviewed, delimiter, capfd):
    path = write_csv(
        reviewed,
        row(reviewed, "a.mha", "Accept", note='tumour, "left"; see\nslice 3'),
        row(reviewed, "b.mha", "reject", note="'=1+1"),
        delimiter=delimiter,
    )
    assert take(reviewed, path) == 0
    assert "2 decisions recorded" in capfd.readouterr().err
    assert decisions(reviewed) == {
        "a.mha": ("accept", "kim", 'tumour, "left"; see\nslice 3'),
        "b.mha": ("reject", "kim", "=1+1"),
    }


def test_a_row_without_a_verdict_is_none(reviewed, capfd):
    assert take(reviewed, write_csv(reviewed, row(reviewed, "a.mha", ""))) == 0
    assert "0 decisions recorded" in capfd.readouterr().err
    assert decisions(reviewed) == {}


def test_a_verdict_does_not_outlive_its_mask(reviewed, capfd):
    path = write_csv(reviewed, row(reviewed, "a.mha", "accept"), row(reviewed, "b.mha", "review"))
    assert take(reviewed, path) == 0
    mask = reviewed.output / "a.mha"
    mask.write_bytes(mask.read_bytes()[:-1] + b"\x01")  # as a person who corrects it
    assert list(decisions(reviewed)) == ["b.mha"]
    assert take(reviewed, path) == 0
    err = capfd.readouterr().err
    assert (
        "1 decisions recorded; 1 left out, because the mask changed or vanished after it was looked at: a.mha"
        in err
    )
    (reviewed.output / "b.mha").unlink()
    assert decisions(reviewed) == {}


def test_a_corrected_mask_can_be_accepted(reviewed):
    mask = reviewed.output / "a.mha"
    mask.write_bytes(mask.read_bytes()[:-1] + b"\x01")
    assert take(reviewed, write_csv(reviewed, row(reviewed, "a.mha", "accept"))) == 0
    assert decisions(reviewed) == {"a.mha": ("accept", "kim", "")}


def test_the_newer_decision_stays(reviewed):
    assert take(reviewed, write_csv(reviewed, row(reviewed, "a.mha", "accept", when="2030-01-02T00:00:00Z"))) == 0
    assert take(reviewed, write_csv(reviewed, row(reviewed, "a.mha", "reject", when="2030-01-01T00:00:00Z"))) == 0
    assert decisions(reviewed)["a.mha"][0] == "accept"
    assert take(reviewed, write_csv(reviewed, row(reviewed, "a.mha", "reject", when="2030-01-03T00:00:00Z"))) == 0
    assert decisions(reviewed)["a.mha"][0] == "reject"


def test_a_run_keeps_decisions(reviewed):
    assert take(reviewed, write_csv(reviewed, row(reviewed, "a.mha", "accept"))) == 0
    reviewed.scan("c.mha", 2)
    reviewed.run()
    assert list(decisions(reviewed)) == ["a.mha"]


@pytest.mark.parametrize(
    ("columns", "cells", "message"),
    [
        (("mask", "verdict"), ("a.mha", "accept"), "has no column 'sha256'"),
        (COLUMNS, ("a.mha", "a.mha", "0", "perhaps", "", "", ""), "row 2: verdict 'perhaps'; write one of accept"),
    ],
    ids=["no digest", "no such verdict"],
)
def test_a_wrong_file_is_refused_as_a_whole(reviewed, columns, cells, message, capfd):
    assert take(reviewed, write_csv(reviewed, cells, columns=columns)) == 2
    assert message in capfd.readouterr().err
    assert decisions(reviewed) == {}


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file"), (b"\xff\xfe\x00", "it is not UTF-8 text")],
    ids=["missing", "binary"],
)
def test_a_file_that_cannot_be_read_is_named(reviewed, content, reason, capfd):
    path = reviewed.source.parent / "d.csv"
    if content:
        path.write_bytes(content)
    assert take(reviewed, path) == 2
    assert f"{path}: cannot be read ({reason}" in capfd.readouterr().err


def test_decisions_are_checked():
    with pytest.raises(ConfigError, match="verdict 'yes': write one of accept, review, reject"):
        Review("a", "0", "a", "yes")
    with pytest.raises(ConfigError, match="the note on a has more than 10000 characters"):
        Review("a", "0", "a", "accept", note="x" * 10_001)


def test_decisions_are_forgotten_on_request(reviewed):
    digest = digests(reviewed)["a.mha"]
    with closing(Ledger(reviewed.output)) as ledger:
        ledger.record_reviews([Review("a.mha", digest, "a.mha", "accept")])
        ledger.forget_reviews([("a.mha", digest)])
    assert decisions(reviewed) == {}


def test_a_ledger_of_version_2_gets_the_table(reviewed):
    with closing(sqlite3.connect(reviewed.output / "itk_infer.db")) as db:
        db.execute("DROP TABLE reviews")
        db.execute("PRAGMA user_version = 2")
        db.commit()
    assert decisions(reviewed) == {}  # which changes nothing
    assert take(reviewed, write_csv(reviewed, row(reviewed, "a.mha", "accept"))) == 0
    assert list(decisions(reviewed)) == ["a.mha"]


def test_reports_of_shards_keep_decisions(reviewed):
    digest = digests(reviewed)["a.mha"]
    with closing(Ledger(reviewed.output)) as ledger, closing(Ledger(reviewed.source, in_memory=True)) as other:
        other.record_reviews([Review("a.mha", digest, "a.mha", "reject", "kim", "2030")])
        ledger.adopt(other)
    assert decisions(reviewed) == {"a.mha": ("reject", "kim", "")}


def test_the_report_knows_the_decision(reviewed):
    assert take(reviewed, write_csv(reviewed, row(reviewed, "a.mha", "accept", note="fine"))) == 0
    assert main(["report", str(reviewed.output), "--html"]) == 0
    document = json.loads((reviewed.output / "report.json").read_text())
    found = {case["case"]: case["review"] for case in document["cases"]}
    assert found["a.mha"] == {"verdict": "accept", "who": "kim", "when": "2030-01-01T00:00:00Z", "note": "fine"}
    assert found["b.mha"]["verdict"] == ""
    assert document["summary"]["verdicts"] == {"accept": 1}
