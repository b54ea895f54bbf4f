"""Killed in the middle of its work, again and again: every picture is there once, and nothing differs."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pydicom", reason="pydicom writes the files")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
from support.classify_files import grey_dicom

from itk_infer.cli.main import main

PROGRAM = """
import os, signal, sys
from itk_infer.classify import database
from itk_infer.cli.main import main

count, record = 0, database.ResultsDatabase.record

def record_and_die(self, *words, **options):
    global count
    record(self, *words, **options)
    count += 1
    if count == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)

database.COMMIT_ROWS = 3
database.ResultsDatabase.record = record_and_die
if __name__ == "__main__":  # and not in the processes that it starts
    sys.exit(main(sys.argv[2:]))
"""
EVERYTHING = (
    "SELECT f.path, i.frame, i.state, i.pixels_sha256, p.label, p.probability FROM files f JOIN images i ON i.file = f.id "
    "JOIN predictions p ON p.image = i.id WHERE f.state = 'done' ORDER BY f.path, i.frame, p.label"
)


def everything(path: Path) -> list[Any]:
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        found = db.execute(EVERYTHING).fetchall()
    db.close()
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize(
    "more", [("--threads", "2"), ("--num-proc", "2", "--threads", "1")], ids=["threads", "workers"]
)
def test_killed_runs_lose_nothing(tmp_path: Path, model: Path, more: tuple[str, ...]) -> None:
    """Nor do the tables differ, in any byte, from those of an undisturbed run."""
    for number in range(24):
        grey_dicom(tmp_path / f"in/{number % 3}/{number}.dcm", number / 30, number, study=str(number % 3))
    words = ["classify", "-i", str(tmp_path / "in"), "-m", str(model), "--device", "cpu", "--provider", "cpu"]
    words.append("--kaggle")
    assert main([*words, "-o", str(tmp_path / "once"), "--threads", "2"]) == 0
    words += ["-o", str(tmp_path / "killed"), *more]
    for after in (1, 5, 7) if more[0] == "--threads" else (5,):
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(after), *words], capture_output=True, timeout=300
        )
        assert ended.returncode == -signal.SIGKILL, ended.stderr
    last = subprocess.run(
        [sys.executable, "-c", PROGRAM, "0", *words], capture_output=True, timeout=300, text=True
    )
    assert last.returncode == 0, last.stderr
    undisturbed = everything(tmp_path / "once/results.db")
    assert len(undisturbed) == 24
    assert everything(tmp_path / "killed/results.db") == undisturbed
    tables = {path.name: path.read_bytes() for path in (tmp_path / "once").glob("*.csv")}
    assert {"images.csv", "studies.csv", "results.csv", "predictions_per_slice.csv", "kaggle.csv"} == set(tables)
    assert {path.name: path.read_bytes() for path in (tmp_path / "killed").glob("*.csv")} == tables
