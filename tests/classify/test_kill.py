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
def test_killed_runs_lose_nothing(tmp_path: Path, model: Path, run: Any) -> None:
    for number in range(24):
        grey_dicom(tmp_path / f"in/{number % 3}/{number}.dcm", number / 30, number)
    run(tmp_path / "in")
    undisturbed = everything(tmp_path / "out/results.db")
    words = [
        "classify",
        "-i",
        str(tmp_path / "in"),
        "-o",
        str(tmp_path / "killed"),
        "-m",
        str(model),
        "--threads",
        "2",
    ]
    words += ["--device", "cpu", "--provider", "cpu"]
    for after in (1, 5, 7):
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(after), *words], capture_output=True, timeout=300
        )
        assert ended.returncode == -signal.SIGKILL, ended.stderr
    last = subprocess.run(
        [sys.executable, "-c", PROGRAM, "0", *words], capture_output=True, timeout=300, text=True
    )
    assert last.returncode == 0, last.stderr
    assert len(undisturbed) == 24
    assert everything(tmp_path / "killed/results.db") == undisturbed
