"""Scores of finished cases in SQLite, so that a repeated evaluation computes only the missing ones."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from itk_infer.errors import ConfigError
from itk_infer.evaluate.case import CaseTask
from itk_infer.evaluate.scores import CaseScores, LabelScores, LesionCounts
from itk_infer.files.stamp import stamp_of

VERSION = 1  # increase it when the same files would give other scores
ENDING = ".itk_infer.db"  # appended to the stem of the table's name
SCHEMA = "CREATE TABLE IF NOT EXISTS scores (name TEXT PRIMARY KEY, identity TEXT NOT NULL, scores TEXT NOT NULL)"


def identity_of(task: CaseTask) -> str:
    """Digest of what determines the scores of a case: size, time and inode of both files, label tables, settings.

    Raises:
        OSError: a file does not exist any more.
    """
    stamps = [asdict(stamp_of(path)) for path in (task.pair.mask, task.pair.truth)]
    paths = [str(path.absolute()) for path in (task.pair.mask, task.pair.truth)]
    tables = [[asdict(label) for label in table] for table in (task.mask_table, task.truth_table)]
    content = [VERSION, paths, stamps, tables, asdict(task.settings), task.resample]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


class ScoreStore:
    """An open store, written by one process only.

    Args:
        path: Path of the SQLite file; None: in memory.

    Raises:
        ConfigError: the file cannot be used.
    """

    def __init__(self, path: Path | None) -> None:
        self._name = "the scores in memory" if path is None else str(path)
        with self._errors():
            self._db = sqlite3.connect(":memory:" if path is None else path)
            try:
                self._db.execute(SCHEMA)
            except sqlite3.Error:
                self._db.close()
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise ConfigError(
                f"{self._name}: cannot be used ({error}); is another evaluation at work there, or is it another "
                "program's file? Move it away, or give another name for the table"
            ) from error

    def close(self) -> None:
        """Close the store."""
        self._db.close()

    def get(self, name: str, identity: str) -> CaseScores | None:
        """The stored scores of a case; None if there are none for these files and settings."""
        with self._errors():
            row = self._db.execute("SELECT identity, scores FROM scores WHERE name = ?", (name,)).fetchone()
        return None if row is None or row[0] != identity else _unpacked(json.loads(row[1]))

    def put(self, identity: str, scores: CaseScores) -> None:
        """Store the scores of a case."""
        with self._errors(), self._db:
            row = (scores.name, identity, json.dumps(asdict(scores)))
            self._db.execute("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", row)


def _unpacked(document: dict[str, Any]) -> CaseScores:
    labels = []
    for entry in document["labels"]:
        label = LabelScores(**{**entry, "lesions": None})
        labels.append(replace(label, lesions=LesionCounts(**entry["lesions"])) if entry["lesions"] else label)
    return CaseScores(document["name"], tuple(labels), document["diagonal_mm"], tuple(document["notes"]))
