"""The ledger: state and results of every case, in SQLite, written by one process only.

All tables (confidences.xlsx, labels.csv, ...) are made from it.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from itk_infer.errors import ConfigError
from itk_infer.files.records import InputFile, OutputFile
from itk_infer.files.stamp import Stamp
from itk_infer.outputs.registry import LABELS
from itk_infer.run.case_record import CaseRecord, packed, unpacked
from itk_infer.run.decision import Review
from itk_infer.run.ledger_file import closed_on_error, make_writable, open_read_only

NAME = "itk_infer.db"
SCHEMA_VERSION = 3
# The default rollback journal: WAL does not work on network file systems.
SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, started TEXT NOT NULL, ended TEXT, exit_code INTEGER,
    about TEXT NOT NULL                          -- JSON: versions, command, device, model
);
CREATE TABLE IF NOT EXISTS cases (
    name TEXT PRIMARY KEY,
    state TEXT NOT NULL,                         -- waiting, running, done, failed, skipped, interrupted
    reason TEXT, run TEXT NOT NULL, started TEXT NOT NULL, ended TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    inputs TEXT NOT NULL DEFAULT '[]',           -- JSON: path, sha256, size, mtime_ns, inode
    results TEXT,                                -- JSON: what the last success measured
    paths TEXT NOT NULL DEFAULT '[]'             -- JSON: where its image was last found, absolute
);
CREATE TABLE IF NOT EXISTS outputs (
    path TEXT PRIMARY KEY,                       -- below the output folder
    case_name TEXT NOT NULL, kind TEXT NOT NULL, -- labels, logits, derived
    identity TEXT NOT NULL,                      -- JSON: all that decides the content besides the image
    sha256 TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    results TEXT                                 -- JSON, of a label map: what was measured of this very file
);
"""
REVIEWS = """
CREATE TABLE IF NOT EXISTS reviews (
    path TEXT NOT NULL,                          -- of the mask, below the output folder
    sha256 TEXT NOT NULL,                        -- of the mask that was looked at: the verdict holds for no other
    case_name TEXT NOT NULL, verdict TEXT NOT NULL, who TEXT NOT NULL, time TEXT NOT NULL, note TEXT NOT NULL,
    PRIMARY KEY (path, sha256)
);
"""
UPGRADES = {  # from this version to the next one
    0: SCHEMA + REVIEWS,
    1: """
ALTER TABLE cases ADD COLUMN paths TEXT NOT NULL DEFAULT '[]';
ALTER TABLE outputs ADD COLUMN results TEXT;
""",
    2: REVIEWS,
}


class Ledger:
    """An open ledger.

    Args:
        folder: Output folder; the ledger is ``itk_infer.db`` in it.
        read_only: Change nothing; a missing ledger is read as an empty one.
        name: File name, if it is the ledger of a shard.
        verify: Called before each change; raises if another run has taken over the folder.
        in_memory: Use no file; the ledger starts empty and is lost at the end of the process.

    Raises:
        ConfigError: the file is not a ledger, is of a newer version, or may not be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        read_only: bool = False,
        name: str = NAME,
        verify: Callable[[], None] = lambda: None,
        in_memory: bool = False,
    ) -> None:
        path = folder / name
        self.read_only = read_only
        self._verify = verify
        try:
            if in_memory:
                self._db = sqlite3.connect(":memory:")
            elif not read_only:
                make_writable(path)
                self._db = sqlite3.connect(path)
            else:
                self._db = open_read_only(path)
            with closed_on_error(self._db):
                self._db.execute("PRAGMA temp_store = MEMORY")  # there may be no writable temporary folder
                version = self._db.execute("PRAGMA user_version").fetchone()[0]
                if version > SCHEMA_VERSION:
                    raise ConfigError(f"{path}: was written by a newer itk_infer; update, or use another folder")
                if version < SCHEMA_VERSION:
                    self._upgrade(version)
        except sqlite3.Error as error:
            if "locked" in str(error):
                raise ConfigError(
                    f"{path}: another program holds it open for writing; close that program and try again"
                ) from error
            raise ConfigError(
                f"{path}: cannot be used as a ledger ({error}); move it away to start a new one, which will "
                "not know the results that are there"
            ) from error

    def _upgrade(self, version: int) -> None:
        """Create the tables in a new file, or in memory for a missing one; add what an older file lacks."""
        if self.read_only and version:
            copy = sqlite3.connect(":memory:")
            self._db.backup(copy)
            self._db.close()
            self._db = copy
        steps = range(version, SCHEMA_VERSION) if version else (0,)  # a new file gets all tables at once
        script = "".join(UPGRADES[step] for step in steps)
        self._db.executescript(f"BEGIN; {script} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        """One transaction, which writes only if this run still holds the folder."""
        self._verify()
        with self._db:
            # A process may stand still before any line, and another run may take the folder over meanwhile; from
            # here on, that run waits for the end of this transaction.
            self._db.execute("BEGIN IMMEDIATE")
            self._verify()
            yield

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # --- runs ---------------------------------------------------------------------------------

    def begin_run(self, run: str, about: dict[str, Any]) -> None:
        """Record the start of a run."""
        with self._change():
            self._db.execute(
                "INSERT INTO runs (id, started, about) VALUES (?, ?, ?)", (run, _now(), json.dumps(about))
            )

    def end_run(self, run: str, exit_code: int) -> None:
        """Record the end of a run."""
        with self._change():
            self._db.execute("UPDATE runs SET ended = ?, exit_code = ? WHERE id = ?", (_now(), exit_code, run))

    # --- cases --------------------------------------------------------------------------------

    def enqueue(self, names: Iterable[str], run: str) -> None:
        """Record cases as waiting, before the first one starts."""
        with self._change():
            self._db.executemany(
                "INSERT INTO cases (name, state, run, started) VALUES (?, 'waiting', ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET state = 'waiting', reason = NULL, ended = NULL, "
                "run = excluded.run, started = excluded.started",
                [(name, run, _now()) for name in names],
            )

    def start(self, name: str, run: str) -> int:
        """Record that a case is running; returns the number of this attempt."""
        with self._change():
            self._db.execute(
                "INSERT INTO cases (name, state, run, started, attempts) VALUES (?, 'running', ?, ?, 1) "
                "ON CONFLICT (name) DO UPDATE SET state = 'running', reason = NULL, ended = NULL, "
                "run = excluded.run, started = excluded.started, attempts = attempts + 1",
                (name, run, _now()),
            )
        row = self._db.execute("SELECT attempts FROM cases WHERE name = ?", (name,)).fetchone()
        return int(row[0])

    def finish(
        self, name: str, inputs: Iterable[InputFile], results: dict[str, Any], outputs: Iterable[OutputFile]
    ) -> None:
        """Record a finished case and its outputs in one transaction; the label map keeps the results, too."""
        with self._change():
            self._db.execute(
                "UPDATE cases SET state = 'done', reason = NULL, ended = ?, inputs = ?, results = ? "
                "WHERE name = ?",
                (_now(), json.dumps([packed(item) for item in inputs]), json.dumps(results), name),
            )
            self._put(replace(item, results=results) if item.kind == LABELS else item for item in outputs)

    def settle(self, name: str, run: str, state: str, reason: str) -> None:
        """Record a case that failed, was skipped or was interrupted; earlier results stay on record."""
        self.settle_all({name: reason}, run, state)

    def settle_all(self, reasons: Mapping[str, str], run: str, state: str) -> None:
        """As `settle`, for many cases in one transaction: reasons by name."""
        with self._change():
            self._db.executemany(
                "INSERT INTO cases (name, state, reason, run, started, ended) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET state = excluded.state, reason = excluded.reason, "
                "run = excluded.run, ended = excluded.ended",
                [(name, state, reason, run, _now(), _now()) for name, reason in reasons.items()],
            )

    def confirm(self, names: Sequence[str]) -> None:
        """Record cases as done, even if an attempt after their last success failed."""
        with self._change():
            self._db.executemany(
                "UPDATE cases SET state = 'done', reason = NULL WHERE name = ? AND state != 'done'",
                [(name,) for name in names],
            )

    def locate(self, paths: Mapping[str, Sequence[str]]) -> None:
        """Record where the images of cases are now.

        Args:
            paths: Absolute paths by case name.
        """
        with self._change():
            self._db.executemany(
                "UPDATE cases SET paths = ? WHERE name = ?",
                [(json.dumps(files), name) for name, files in paths.items()],
            )

    def forget(self, cases: Iterable[str], outputs: Iterable[str]) -> None:
        """Delete rows.

        Args:
            cases: Names of cases.
            outputs: Paths of outputs below the output folder.
        """
        with self._change():
            self._db.executemany("DELETE FROM cases WHERE name = ?", [(name,) for name in cases])
            self._db.executemany("DELETE FROM outputs WHERE path = ?", [(path,) for path in outputs])

    def refresh_inputs(self, name: str, inputs: Iterable[InputFile]) -> None:
        """Record new stamps of inputs whose content has not changed."""
        with self._change():
            content = json.dumps([packed(item) for item in inputs])
            self._db.execute("UPDATE cases SET inputs = ? WHERE name = ?", (content, name))

    def cases(self) -> dict[str, CaseRecord]:
        """All cases ever seen in this folder, by name."""
        rows = self._db.execute(
            "SELECT name, state, reason, started, attempts, inputs, results, paths FROM cases ORDER BY name"
        )
        try:
            return {
                name: CaseRecord(
                    name,
                    state,
                    reason,
                    started,
                    attempts,
                    tuple(unpacked(item) for item in json.loads(inputs)),
                    json.loads(results) if results else None,
                    tuple(json.loads(paths)),
                )
                for name, state, reason, started, attempts, inputs, results, paths in rows
            }
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"the ledger holds a row that cannot be read ({error!r}); restore {NAME} from a copy, or move it "
                "away to start a new one, which will not know the results that are there"
            ) from error

    def adopt(self, other: Ledger, names: Iterable[str] | None = None) -> None:
        """Copy newer rows of another ledger in the folder.

        Args:
            other: The other ledger.
            names: Cases to copy; None: all.
        """
        wanted = None if names is None else set(names)
        ours = dict(self._db.execute("SELECT name, started FROM cases"))
        columns = "name, state, reason, run, started, ended, attempts, inputs, results, paths"
        rows = [
            row
            for row in other._db.execute(f"SELECT {columns} FROM cases")
            if row[4] > ours.get(row[0], "") and (wanted is None or row[0] in wanted)
        ]
        adopted = {row[0] for row in rows}
        outputs = [output for output in other.outputs().values() if output.case in adopted]
        with self._change():
            self._db.executemany(f"INSERT OR REPLACE INTO cases ({columns}) VALUES (?,?,?,?,?,?,?,?,?,?)", rows)
            self._put(outputs)
            if wanted is None:
                self._db.executemany(
                    "INSERT OR IGNORE INTO reviews VALUES (?, ?, ?, ?, ?, ?, ?)",
                    other._db.execute(
                        "SELECT path, sha256, case_name, verdict, who, time, note FROM reviews"
                    ).fetchall(),
                )
                runs = other._db.execute("SELECT id, started, ended, exit_code, about FROM runs").fetchall()
                self._db.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)", runs)

    def last_model(self) -> dict[str, Any]:
        """What the last run recorded of its model: ``identity``, ``labels``; empty if there was no run."""
        row = self._db.execute("SELECT about FROM runs ORDER BY started DESC LIMIT 1").fetchone()
        return json.loads(row[0]) if row else {}

    def runs(self) -> list[tuple[str, str | None, int | None, dict[str, Any]]]:
        """All runs, oldest first: start, end, exit code, and ``about``."""
        rows = self._db.execute("SELECT started, ended, exit_code, about FROM runs ORDER BY started")
        return [(started, ended, code, json.loads(about)) for started, ended, code, about in rows]

    def last_run(self) -> tuple[str, str | None, int | None] | None:
        """Start, end and exit code of the last run; None if there was none."""
        row = self._db.execute(
            "SELECT started, ended, exit_code FROM runs ORDER BY started DESC LIMIT 1"
        ).fetchone()
        return None if row is None else tuple(row)

    # --- outputs ------------------------------------------------------------------------------

    def record_output(self, output: OutputFile) -> None:
        """Record an output that does not belong to a single case."""
        with self._change():
            self._put([output])

    def outputs(self) -> dict[str, OutputFile]:
        """All outputs ever committed, by path."""
        columns = "path, case_name, kind, identity, sha256, results, size, mtime_ns, inode"
        rows = self._db.execute(f"SELECT {columns} FROM outputs ORDER BY path")
        return {
            path: OutputFile(
                path,
                case,
                kind,
                json.loads(identity),
                digest,
                Stamp(*stamp),
                json.loads(results) if results else None,
            )
            for path, case, kind, identity, digest, results, *stamp in rows
        }

    # --- reviews ------------------------------------------------------------------------------

    def record_reviews(self, reviews: Iterable[Review]) -> None:
        """Record decisions about masks; a later decision about a mask replaces an earlier one."""
        with self._change():
            self._db.executemany(
                "INSERT INTO reviews (path, sha256, case_name, verdict, who, time, note) VALUES (?,?,?,?,?,?,?) "
                "ON CONFLICT (path, sha256) DO UPDATE SET verdict = excluded.verdict, who = excluded.who, "
                "time = excluded.time, note = excluded.note",
                [(r.path, r.sha256, r.case, r.verdict, r.who, r.time, r.note) for r in reviews],
            )

    def forget_reviews(self, masks: Iterable[tuple[str, str]]) -> None:
        """Delete decisions.

        Args:
            masks: Path and digest of each mask.
        """
        with self._change():
            self._db.executemany("DELETE FROM reviews WHERE path = ? AND sha256 = ?", list(masks))

    def reviews(self) -> dict[tuple[str, str], Review]:
        """All decisions, by path and digest of the mask."""
        rows = self._db.execute("SELECT path, sha256, case_name, verdict, who, time, note FROM reviews")
        return {row[:2]: Review(*row) for row in rows}

    def _put(self, outputs: Iterable[OutputFile]) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    *(output.path, output.case, output.kind, json.dumps(output.identity, sort_keys=True)),
                    *(output.sha256, output.stamp.size, output.stamp.mtime_ns, output.stamp.inode),
                    json.dumps(output.results) if output.results else None,
                )
                for output in outputs
            ],
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
