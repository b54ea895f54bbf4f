"""Puts together what all processes have covered, and shows it. Ends with 2 where that is less than setup.cfg asks for."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def is_whole(path: Path) -> bool:
    """Whether a process has written all of its data; one that is killed meanwhile leaves a torn file."""
    try:
        with closing(sqlite3.connect(path)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            return {"meta", "file", "arc"} <= tables and database.execute("PRAGMA quick_check").fetchone() == (
                "ok",
            )
    except sqlite3.Error:
        return False


def main() -> int:
    """Combine, and report."""
    for path in REPOSITORY.glob(".coverage.*"):
        if not is_whole(path):
            path.unlink()
    for words in (["combine", "--quiet"], ["report"]):
        done = subprocess.run([sys.executable, "-m", "coverage", *words], cwd=REPOSITORY, check=False)
        if done.returncode:
            break
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
