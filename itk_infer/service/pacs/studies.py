"""The studies that a node has seen, and when each last grew, stored in SQLite."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from itk_infer.errors import ConfigError
from itk_infer.run.ledger_file import closed_on_error, make_writable
from itk_infer.service.pacs.transaction import transaction

NAME = "node.db"
VERSION = 1
BUSY_S = 30
SCHEMA = (
    """
CREATE TABLE studies (
    id TEXT PRIMARY KEY,                         -- never a UID or an identifier of a patient
    changed REAL NOT NULL,                       -- when it last grew, as far as we know
    settled INTEGER NOT NULL DEFAULT 0           -- whether what is there was looked at since
)
""",
    "CREATE TABLE jobs (id TEXT PRIMARY KEY, study TEXT NOT NULL, added REAL NOT NULL)",
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
)


@dataclass(frozen=True, slots=True)
class Study:
    """A study that has grown: its identifier, and the time."""

    id: str
    changed: float


class Studies:
    """The database of studies, see the module.

    Args:
        folder: Folder of the database.

    Raises:
        ConfigError: the database cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / NAME
        make_writable(path)
        self._lock = threading.RLock()
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=BUSY_S)
            with closed_on_error(self._db):
                self._db.execute("PRAGMA synchronous = FULL")
                with transaction(self._db, self._lock):
                    version = self._db.execute("PRAGMA user_version").fetchone()[0]
                    if version > VERSION:
                        raise ConfigError(f"{path}: was written by a later version of itk_infer; use that one")
                    if version == 0:
                        for statement in SCHEMA:
                            self._db.execute(statement)
                        self._db.execute(f"PRAGMA user_version = {VERSION}")
        except sqlite3.Error as error:
            raise ConfigError(f"{path}: cannot be used ({error}); move it away") from error

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()

    def grew(self, studies: Iterable[str], facts: dict[str, str] | None = None) -> None:
        """Record that studies have grown now and, in one transaction, facts such as the position in a feed."""
        now = time.time()
        with transaction(self._db, self._lock):
            self._db.executemany(
                "INSERT INTO studies (id, changed) VALUES (?, ?)"
                " ON CONFLICT (id) DO UPDATE SET changed = excluded.changed, settled = 0",
                [(study, now) for study in studies],
            )
            self._put(facts or {})

    def came_again(self, study: str) -> None:
        """Record that a known instance was received again: unless the study is settled, more of it may follow."""
        with transaction(self._db, self._lock):
            self._db.execute("UPDATE studies SET changed = ? WHERE id = ? AND settled = 0", (time.time(), study))

    def settle(self, study: Study, job: str | None = None) -> None:
        """Record that a study was processed, unless it has grown meanwhile, and the job that was made for it."""
        with transaction(self._db, self._lock):
            if job is not None:
                self._db.execute("INSERT OR IGNORE INTO jobs VALUES (?, ?, ?)", (job, study.id, time.time()))
            self._db.execute(
                "UPDATE studies SET settled = 1 WHERE id = ? AND changed = ?", (study.id, study.changed)
            )

    def note(self, **facts: str) -> None:
        """Store facts by name."""
        with transaction(self._db, self._lock):
            self._put(facts)

    def unsettled(self) -> list[Study]:
        """Studies that have grown since they were processed, oldest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT id, changed FROM studies WHERE settled = 0 ORDER BY changed"
            ).fetchall()
        return [Study(*row) for row in rows]

    def settled(self) -> dict[str, float]:
        """Time of last growth of each processed study."""
        with self._lock:
            return dict(self._db.execute("SELECT id, changed FROM studies WHERE settled = 1").fetchall())

    def known(self) -> dict[str, float]:
        """Time of last growth of each study."""
        with self._lock:
            return dict(self._db.execute("SELECT id, changed FROM studies").fetchall())

    def jobs_of(self, study: str) -> list[str]:
        """Ids of the jobs that were made for a study, oldest first."""
        with self._lock:
            rows = self._db.execute("SELECT id FROM jobs WHERE study = ? ORDER BY added, rowid", (study,))
            return [row[0] for row in rows.fetchall()]

    def fact(self, name: str, default: str = "") -> str:
        """The value of a fact, or `default` if it was not stored."""
        with self._lock:
            row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return default if row is None else str(row[0])

    def _put(self, facts: dict[str, str]) -> None:
        self._db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", list(facts.items()))
