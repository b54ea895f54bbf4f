"""The queue of jobs in SQLite: accepted jobs survive a kill of the server, and each ends exactly once.

Independent of HTTP and networks. One process opens it (the service locks its folder); all its threads may use it.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import astuple
from pathlib import Path
from typing import Any

from itk_infer.errors import ConfigError
from itk_infer.run.ledger_file import closed_on_error, make_writable
from itk_infer.service.job import STATES, Job, JobFile, JobRequest, State, job_of, new_id
from itk_infer.service.refusal import Refusal

NAME = "jobs.db"
VERSION = 1
MOST_STARTS = 5  # starts of a job that ended with a kill of the server, which the job may have caused
REMEMBERED = 20  # last finished jobs of a model, from which durations are estimated
BUSY_S = 10
SCHEMA = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    model TEXT NOT NULL,
    inputs TEXT NOT NULL,
    digest TEXT NOT NULL,
    nbytes INTEGER NOT NULL,
    save TEXT NOT NULL,
    label_format TEXT NOT NULL,
    name TEXT NOT NULL,
    key TEXT UNIQUE,
    starts INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL,
    started REAL,
    ended REAL,
    reason TEXT NOT NULL DEFAULT '',
    files TEXT NOT NULL DEFAULT '{}',
    results TEXT NOT NULL DEFAULT '{}',
    held INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX by_state ON jobs (state, number);
"""


class JobQueue:
    """The queue of jobs in a SQLite database.

    Args:
        folder: Folder of the database, which is created if missing.
        limit: Largest number of waiting jobs.

    Raises:
        ConfigError: the database cannot be written, or is of a later version.
    """

    def __init__(self, folder: Path, limit: int = 1000) -> None:
        path = folder / NAME
        make_writable(path)
        self._limit = limit
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=BUSY_S)
        self._db.row_factory = sqlite3.Row
        with closed_on_error(self._db), self._change():
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > VERSION:
                raise ConfigError(f"{path}: was written by a later version of itk_infer; use that one")
            if version == 0:
                for statement in SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()

    # --- changes ------------------------------------------------------------------------------

    def recover(self) -> list[Job]:
        """Queue jobs again that were running when the server last ended; those that were started too often fail.

        Returns:
            The jobs that failed.
        """
        reason = (
            f"the server ended {MOST_STARTS} times while this job ran, and it is not tried again; perhaps "
            "the image needs more memory than there is"
        )
        with self._change():
            lost = self._jobs("WHERE state = 'running' AND starts >= ?", MOST_STARTS)
            for job in lost:
                self._end(job.id, "failed", reason)
            self._db.execute("UPDATE jobs SET state = 'waiting' WHERE state = 'running'")
        return lost

    def add(self, request: JobRequest, job_id: str = "") -> tuple[Job, bool]:
        """Accept a job.

        Args:
            request: The client's request.
            job_id: An id that was generated before; empty: generate one.

        Returns:
            The job, and whether it is new: a request with a known key returns the job of that key.

        Raises:
            Refusal: ``full``; ``conflict``: the key belongs to another request.
        """
        with self._change():
            if request.key is not None:
                former = self._jobs("WHERE key = ?", request.key)
                if former and former[0].request.meaning != request.meaning:
                    raise Refusal("conflict", "this idempotency key was used for another request; use a new one")
                if former:
                    return former[0], False
            self.check_room()
            job_id = job_id or new_id()
            self._db.execute(
                "INSERT INTO jobs (id, state, model, inputs, digest, nbytes, save, label_format, name, key,"
                " created) VALUES (?, 'waiting', ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    job_id,
                    request.model,
                    json.dumps(request.inputs),
                    request.digest,
                    request.nbytes,
                    json.dumps(request.save),
                    request.label_format,
                    request.name,
                    request.key,
                    time.time(),
                ),
            )
            return self.get(job_id), True

    def check_room(self) -> None:
        """Raise `Refusal` ``full`` if no further job can wait."""
        waiting = self.counts()["waiting"]
        if waiting >= self._limit:
            retry = max(1, min(600, round(self.mean_seconds(""))))
            raise Refusal("full", f"the queue is full: {waiting} jobs wait; try again later", retry)

    def take(self) -> Job | None:
        """Set the first waiting job to running and return it; None if none waits."""
        with self._change():
            first = self._jobs("WHERE state = 'waiting' ORDER BY number LIMIT 1")
            if not first:
                return None
            self._db.execute(
                "UPDATE jobs SET state = 'running', starts = starts + 1, started = ? WHERE id = ?",
                (time.time(), first[0].id),
            )
            return self.get(first[0].id)

    def following(self) -> Job | None:
        """The first waiting job, which keeps waiting; None if none waits."""
        with self._lock:
            first = self._jobs("WHERE state = 'waiting' ORDER BY number LIMIT 1")
        return first[0] if first else None

    def put_back(self, job_id: str) -> None:
        """Return a running job to its former position, because the server stops."""
        with self._change():
            self._db.execute(
                "UPDATE jobs SET state = 'waiting', starts = starts - 1 WHERE id = ? AND state = 'running'",
                (job_id,),
            )

    def finish(self, job_id: str, files: Mapping[str, JobFile], results: Mapping[str, Any]) -> bool:
        """Mark a running job as done; return False if it is not running."""
        with self._change():
            held = sum(file.nbytes for file in files.values())
            packed = json.dumps({name: astuple(file) for name, file in files.items()})
            done = self._db.execute(
                "UPDATE jobs SET state = 'done', ended = ?, files = ?, results = ?, held = ?"
                " WHERE id = ? AND state = 'running'",
                (time.time(), packed, json.dumps(results), held, job_id),
            )
            return done.rowcount == 1

    def fail(self, job_id: str, reason: str) -> bool:
        """Mark a running job as failed; return False if it is not running."""
        with self._change():
            return self._end(job_id, "failed", reason)

    def cancel(self, job_id: str, *, running: bool = False) -> bool:
        """Cancel a waiting job, or with `running` also a running one; return False if it is in another state."""
        with self._change():
            return self._end(job_id, "cancelled", "cancelled by a client", also_waiting=True, also_running=running)

    def delete(self, job_id: str) -> bool:
        """Delete a job that has ended; return False if it has not."""
        with self._change():
            sql = "DELETE FROM jobs WHERE id = ? AND state IN ('done', 'failed', 'cancelled')"
            return self._db.execute(sql, (job_id,)).rowcount == 1

    def _end(
        self, job_id: str, state: State, reason: str, *, also_waiting: bool = False, also_running: bool = True
    ) -> bool:
        states = [name for name, wanted in (("waiting", also_waiting), ("running", also_running)) if wanted]
        ended = self._db.execute(
            f"UPDATE jobs SET state = ?, reason = ?, ended = ? WHERE id = ? AND state IN ({_marks(states)})",
            (state, reason, time.time(), job_id, *states),
        )
        return ended.rowcount == 1

    # --- queries ------------------------------------------------------------------------------

    def get(self, job_id: str) -> Job:
        """The job with an id.

        Raises:
            Refusal: ``not_found``.
        """
        with self._lock:
            found = self._jobs("WHERE id = ?", job_id)
        if not found:
            raise Refusal("not_found", "there is no such job; it may have been deleted when its time was up")
        return found[0]

    def latest(self, state: State | None = None, limit: int = 100, before: int | None = None) -> list[Job]:
        """Jobs, latest first.

        Args:
            state: Only jobs in this state.
            limit: Largest number of jobs.
            before: Only jobs with smaller numbers.
        """
        with self._lock:
            return self._jobs(
                "WHERE (? IS NULL OR state = ?) AND (? IS NULL OR number < ?) ORDER BY number DESC LIMIT ?",
                state,
                state,
                before,
                before,
                limit,
            )

    def counts(self) -> dict[State, int]:
        """Number of jobs per state."""
        with self._lock:
            rows = dict(self._db.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())
        return {state: rows.get(state, 0) for state in STATES}

    def ids(self) -> set[str]:
        """Ids of all jobs."""
        with self._lock:
            return {row[0] for row in self._db.execute("SELECT id FROM jobs")}

    def position(self, job: Job) -> int:
        """Position in the queue: 1 plus the number of jobs that wait before it."""
        sql = "SELECT count(*) FROM jobs WHERE state = 'waiting' AND number <= ?"
        with self._lock:
            return int(self._db.execute(sql, (job.number,)).fetchone()[0])

    def mean_seconds(self, model: str) -> float:
        """Mean seconds of the last finished jobs of a model, or else of all models; 0 if there are none."""
        sql = (
            "SELECT avg(seconds) FROM (SELECT ended - started AS seconds FROM jobs"
            " WHERE state = 'done' AND (? = '' OR model = ?) ORDER BY ended DESC LIMIT ?)"
        )
        with self._lock:
            mean = self._db.execute(sql, (model, model, REMEMBERED)).fetchone()[0]
        if mean is None:
            return self.mean_seconds("") if model else 0.0
        return float(mean)

    def eta(self, job: Job, slots: int) -> float | None:
        """Estimated seconds until a job ends, from those of finished jobs; None if unknown or if it has ended.

        Args:
            job: The job.
            slots: Number of jobs that run at the same time.
        """
        if job.has_ended or not self.mean_seconds(""):
            return None
        now = time.time()
        if job.state == "running":
            return max(0.0, self.mean_seconds(job.request.model) - (now - (job.started or now)))
        with self._lock:
            ahead = self._jobs("WHERE state = 'running' OR (state = 'waiting' AND number < ?)", job.number)
        means = {name: self.mean_seconds(name) for name in {item.request.model for item in (*ahead, job)}}
        left = [
            max(
                0.0,
                means[item.request.model]
                - (now - item.started if item.started and item.state == "running" else 0),
            )
            for item in ahead
        ]
        return sum(left) / max(1, slots) + means[job.request.model]

    def expired(self, age_s: float, nbytes: int) -> list[str]:
        """Ids of jobs that ended more than `age_s` ago, and of the oldest beyond `nbytes` of files in total."""
        with self._lock:
            rows = self._db.execute(
                "SELECT id, ended, held FROM jobs WHERE ended IS NOT NULL"
                " AND state IN ('done', 'failed', 'cancelled') ORDER BY ended DESC, number DESC"
            ).fetchall()
        gone, total, oldest = [], 0, time.time() - age_s
        for row in rows:
            total += row["held"]
            if row["ended"] < oldest or total > nbytes:
                gone.append(row["id"])
        return gone

    def _jobs(self, where: str, *values: Any) -> list[Job]:
        return [job_of(row) for row in self._db.execute(f"SELECT * FROM jobs {where}", values)]

    @contextmanager
    def _change(self) -> Iterator[None]:
        """A transaction that is on disk when it ends."""
        with self._lock:
            if self._db.in_transaction:  # begun by the caller
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.OperationalError):  # SQLite has ended it by itself where the disk is full
                    self._db.execute("ROLLBACK")
                raise


def _marks(values: list[str]) -> str:
    return ", ".join("?" * len(values))
