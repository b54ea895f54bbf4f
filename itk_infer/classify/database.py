"""`results.db`: written by one process, committed every second or 1,000 pictures, and consistent after a kill."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from itk_infer.classify.messages import FileDone
from itk_infer.classify.model_facts import ModelFacts
from itk_infer.classify.schema import SCHEMA, SCHEMA_VERSION
from itk_infer.classify.units import WaitingFile
from itk_infer.errors import ConfigError
from itk_infer.run.ledger_file import closed_on_error, make_writable, open_read_only

# Increase it when the same file and model would get other probabilities. 2: all pages of a picture file.
ENGINE_VERSION = "2"
COMMIT_ROWS, COMMIT_S = 1000, 1.0
BUSY_S = 60.0  # longest time that another program reading the file may delay a commit


class ResultsDatabase:
    """The open database.

    Changes become permanent with `commit`. A short run is one transaction: a commit waits for the disk, and at the
    start and the end of a run nothing is computed meanwhile.

    Args:
        path: Path of the database file, see `DATABASE_NAME`.
        read_only: Open it without changing it; a missing file is treated as an empty database.
        verify: Called before each commit; raises if another run has taken over the folder.

    Raises:
        ConfigError: the file is not such a database, is of a newer version, or cannot be written.
    """

    def __init__(self, path: Path, *, read_only: bool = False, verify: Callable[[], None] = lambda: None) -> None:
        self.path, self._verify = path, verify
        try:
            if not read_only:
                make_writable(path)
                self.db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
            else:
                self.db = open_read_only(path)
            with closed_on_error(self.db):
                self.db.execute("PRAGMA temp_store = MEMORY")
                if not self.db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    version = f"INSERT INTO about VALUES ('schema', '{SCHEMA_VERSION}');"
                    self.db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} {version}")
                found = self.db.execute("SELECT value FROM about WHERE key = 'schema'").fetchone()
                if found is None or int(found[0]) > SCHEMA_VERSION:
                    raise ConfigError(f"{path}: was written by a newer itk_infer; update, or use another folder")
        except sqlite3.Error as error:
            raise ConfigError(
                f"{path}: cannot be used as a database of results ({error}); move it away to start a new one, "
                "which will not know the results that are there"
            ) from error
        self._rows, self._since, self._open = 0, time.monotonic(), self.db.in_transaction
        self._next_image = 1 + (self.db.execute("SELECT max(id) FROM images").fetchone()[0] or 0)

    def close(self) -> None:
        """Close the database; uncommitted changes are discarded."""
        self.db.close()

    def begin(self) -> None:
        """Begin a transaction, unless one is open."""
        if not self._open:
            self._verify()
            self.db.execute("BEGIN IMMEDIATE")
            self._open, self._since, self._rows = True, time.monotonic(), 0

    def commit(self) -> None:
        """Commit all pending changes."""
        if self._open:
            self._verify()
            self.db.execute("COMMIT")
            self._open = False

    def commit_if_due(self) -> bool:
        """Commit if a second has passed or 1,000 pictures are pending; return whether it did."""
        due = self._open and (self._rows >= COMMIT_ROWS or time.monotonic() - self._since >= COMMIT_S)
        if due:
            self.commit()
        return due

    # --- runs and models ------------------------------------------------------------------------------------

    def model_id(self, model: ModelFacts) -> int | None:
        """Row id of a model; None if it is not in the database."""
        row = self.db.execute(
            "SELECT id FROM models WHERE sha256 = ? AND spec_sha256 = ? AND engine = ?",
            (model.digest, model.spec_digest, ENGINE_VERSION),
        ).fetchone()
        return None if row is None else int(row[0])

    def register_model(self, model: ModelFacts, threshold: float | None) -> int:
        """Add a model if it is new, store its labels with the thresholds of this run, and return its row id."""
        self.begin()
        about = (model.name, model.kind, model.activation, model.study_rule)
        members = json.dumps(model.members)
        number = self.model_id(model)
        if number is None:
            cursor = self.db.execute(
                "INSERT INTO models (sha256, spec_sha256, engine, name, kind, activation, study_rule, members) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (model.digest, model.spec_digest, ENGINE_VERSION, *about, members),
            )
            number = int(cursor.lastrowid or 0)
        else:
            self.db.execute(
                "UPDATE models SET name = ?, kind = ?, activation = ?, study_rule = ?, members = ? WHERE id = ?",
                (*about, members, number),
            )
        self.db.execute("DELETE FROM labels WHERE model = ?", (number,))
        self.db.executemany(
            "INSERT INTO labels VALUES (?, ?, ?, ?, ?)",
            [
                (
                    number,
                    index,
                    label.name,
                    label.threshold if threshold is None else threshold,
                    label.parent or None,
                )
                for index, label in enumerate(model.labels)
            ],
        )
        return number

    def begin_run(self, run: str, version: str, model: int, source: Path, settings: dict[str, Any]) -> None:
        """Record the start of a run."""
        self.begin()
        self.db.execute(
            "INSERT INTO runs (run, started, version, model, input, settings) VALUES (?, ?, ?, ?, ?, ?)",
            (run, _now(), version, model, str(source.absolute()), json.dumps(settings)),
        )

    def last_input(self) -> str | None:
        """Input of the last run; None if there was no run."""
        row = self.db.execute("SELECT input FROM runs ORDER BY id DESC LIMIT 1").fetchone()
        return None if row is None else str(row[0])

    def last_model(self) -> int | None:
        """Row id of the last run's model; None if there was no run."""
        row = self.db.execute("SELECT model FROM runs ORDER BY id DESC LIMIT 1").fetchone()
        return None if row is None else int(row[0])

    def end_run(self, run: str, images: int, seconds: float, exit_code: int) -> None:
        """Record the end of a run: number of images, wall time in seconds, and exit code."""
        self.begin()
        self.db.execute(
            "UPDATE runs SET ended = ?, images = ?, seconds = ?, exit_code = ? WHERE run = ?",
            (_now(), images, seconds, exit_code, run),
        )
        self.commit()

    # --- files ----------------------------------------------------------------------------------------------

    def known(self, folder: str) -> dict[str, tuple[Any, ...]]:
        """Recorded files of a folder, by path: id, size, mtime_ns, inode, state, model, sha256."""
        rows = self.db.execute(
            "SELECT path, id, size, mtime_ns, inode, state, model, sha256 FROM files WHERE folder = ?", (folder,)
        )
        return {row[0]: row[1:] for row in rows}

    def folders(self) -> Iterator[str]:
        """All recorded folders."""
        return (row[0] for row in self.db.execute("SELECT DISTINCT folder FROM files"))

    def put_waiting(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Record files to read: path, folder, size, mtime_ns, inode, model.

        The model is None for new and changed files. It is kept if the size is the same and only the modification
        time or the inode differs: the digest of the content then decides whether the file is computed again.
        """
        self.begin()
        self.db.executemany(
            "INSERT INTO files (path, folder, size, mtime_ns, inode, model, state) "
            "VALUES (?, ?, ?, ?, ?, ?, 'waiting') ON CONFLICT (path) DO UPDATE SET "
            "size = excluded.size, mtime_ns = excluded.mtime_ns, "
            "inode = excluded.inode, model = excluded.model, state = 'waiting', reason = NULL, note = NULL",
            rows,
        )

    def waiting(self, model: int, count: int) -> Iterator[list[WaitingFile]]:
        """Yield lists of at most `count` files to read, including files that are added during the iteration."""
        last = 0
        while rows := self.db.execute(
            "SELECT id, path, CASE WHEN model = ? THEN sha256 END FROM files WHERE state = 'waiting' AND id > ? "
            "ORDER BY id LIMIT ?",
            (model, last, count),
        ).fetchall():
            last = rows[-1][0]
            yield [WaitingFile(*row) for row in rows]

    def put_series(self, rows: Sequence[tuple[str, int]]) -> None:
        """Record the series of waiting files: series, id."""
        self.begin()
        self.db.executemany("UPDATE files SET series = ? WHERE id = ?", rows)

    def wake_series(self) -> int:
        """Mark all files of a series as waiting if one is, as they share inputs; return how many were added."""
        self.begin()
        cursor = self.db.execute(
            "UPDATE files SET state = 'waiting', model = NULL WHERE state IN ('done', 'failed') AND series IN "
            "(SELECT series FROM files WHERE state = 'waiting' AND series IS NOT NULL)"
        )
        return cursor.rowcount

    def counts(self, model: int) -> tuple[int, int, int]:
        """Numbers of files for a model: failed, done, and all."""
        row = self.db.execute(
            "SELECT coalesce(sum(state = 'failed'), 0), coalesce(sum(state = 'done'), 0), count(*) FROM files "
            "WHERE model = ?",
            (model,),
        ).fetchone()
        return int(row[0]), int(row[1]), int(row[2])

    def forget(self, ids: Sequence[int]) -> None:
        """Delete files, with all records of their pictures."""
        self.begin()
        for file in ids:
            self._drop_images(file)
        self.db.executemany("DELETE FROM files WHERE id = ?", [(file,) for file in ids])

    def unchanged(self, file: int) -> None:
        """Record that the content of a file with a new modification time is the one of its stored results."""
        self.begin()
        self.db.execute("UPDATE files SET state = 'done', reason = NULL WHERE id = ?", (file,))

    def record(self, result: FileDone, model: int, *, members: bool) -> None:
        """Record the result of a file, with its pictures."""
        self.begin()
        facts, file = result.facts, result.file
        was = self.db.execute("SELECT sha256 FROM files WHERE id = ?", (file,)).fetchone()
        old: dict[int, int] = {}
        if was is not None and was[0] is not None:  # the file has earlier results
            if was[0] == result.sha256 and result.state == "done":
                old = dict(self.db.execute("SELECT frame, id FROM images WHERE file = ?", (file,)).fetchall())
            else:
                self._drop_images(file)
        self.db.execute(
            "UPDATE files SET sha256 = ?, state = ?, reason = ?, note = ?, model = ?, study = ?, "
            "series = coalesce(?, series), sop = ?, patient = ?, frames = ?, transfer_syntax = ?, "
            "photometric = ? WHERE id = ?",
            (
                *(result.sha256, result.state, result.reason or None, result.note or None, model, result.study),
                *(facts.series or None, facts.sop or None, facts.patient or None),
                *(facts.frames, facts.transfer_syntax or None, facts.photometric or None, file),
            ),
        )
        self._record_images(result, model, old, members=members)

    def _record_images(self, result: FileDone, model: int, old: dict[int, int], *, members: bool) -> None:
        facts, images, predictions, per_member = result.facts, [], [], []
        for image in result.images:
            number = old.get(image.frame)
            if number is None:
                number, self._next_image = self._next_image, self._next_image + 1
            sop = facts.sop or f"sha256:{result.sha256}"
            position = facts.positions[image.frame] if image.frame < len(facts.positions) else None
            images.append((number, result.file, image.frame, result.study, facts.series or None, sop, position))
            for label, probability in enumerate(image.probabilities):
                logit = None if image.logits is None else image.logits[label]
                std = None if image.std is None else image.std[label]
                predictions.append((number, model, label, probability, logit, std))
            if members:
                per_member += [
                    (number, model, member, label, probability)
                    for member, row in enumerate(image.members)
                    for label, probability in enumerate(row)
                ]
        self.db.executemany(
            "INSERT OR REPLACE INTO images (id, file, frame, study, series, sop, position, pixels_sha256, state) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, '', 'counted')",
            images,
        )
        self.db.executemany("INSERT OR REPLACE INTO predictions VALUES (?, ?, ?, ?, ?, ?)", predictions)
        self.db.executemany("INSERT OR REPLACE INTO member_predictions VALUES (?, ?, ?, ?, ?)", per_member)
        self._rows += max(1, len(images))

    def _drop_images(self, file: int) -> None:
        for table in ("predictions", "member_predictions"):
            self.db.execute(f"DELETE FROM {table} WHERE image IN (SELECT id FROM images WHERE file = ?)", (file,))
        self.db.execute("DELETE FROM images WHERE file = ?", (file,))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
