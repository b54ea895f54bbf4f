"""Objects to send, in SQLite, with one row per object and destination.

States: ``waiting`` (also after failed attempts), ``sent``, ``rejected`` (the destination will never accept it),
``dead`` (given up after repeated attempts). The last two are dead letters: kept with their reason, and tried again
on request. Each change is on disk before the next step.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from itk_infer.errors import ConfigError
from itk_infer.run.ledger_file import closed_on_error, make_writable
from itk_infer.service.pacs.delivery import Delivery
from itk_infer.service.pacs.objects import DicomObject
from itk_infer.service.pacs.transaction import transaction

NAME = "outbox.db"
VERSION = 1
BUSY_S = 30
MOST_PAUSE_S = 600.0
PATIENCE_S = 24 * 3600.0
DEAD = ("rejected", "dead")
STATES = ("waiting", "sent", *DEAD)
SCHEMA = """
CREATE TABLE letters (
    target TEXT NOT NULL,                        -- as the user named the destination; no password
    uid TEXT NOT NULL,                           -- SOPInstanceUID
    path TEXT NOT NULL,                          -- below the folder of the outbox
    state TEXT NOT NULL DEFAULT 'waiting',
    tries INTEGER NOT NULL DEFAULT 0,            -- counted before each attempt
    since REAL NOT NULL,                         -- when it was put here, or tried again on request
    due REAL NOT NULL,
    ended REAL,
    verified INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (target, uid)
)
"""


@dataclass(frozen=True, slots=True)
class Letter:
    """An object on its way to one destination.

    Attributes:
        target: Name of the destination.
        uid: SOPInstanceUID.
        path: Path of its file, relative to the folder of the outbox.
        state: One of `STATES`.
        tries: Number of attempts so far.
        since: Time from which it is tried, in seconds since the epoch.
        due: Time of the next attempt.
        ended: Time when it was sent or given up.
        verified: Whether the destination has confirmed, after sending, that it has the object.
        reason: Reason of the last failure.
    """

    target: str
    uid: str
    path: str
    state: str = "waiting"
    tries: int = 0
    since: float = 0.0
    due: float = 0.0
    ended: float | None = None
    verified: bool = False
    reason: str = ""


class Outbox:
    """The outbox of a folder, see the module.

    Args:
        folder: Folder of the database; the objects' files lie in it or below.
        patience: Seconds after which an object that cannot be sent is given up.

    Raises:
        ConfigError: the database cannot be used.
    """

    def __init__(self, folder: Path, patience: float = PATIENCE_S) -> None:
        path = folder / NAME
        make_writable(path)
        self.folder = folder
        self._patience = patience
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
                        self._db.execute(SCHEMA)
                        self._db.execute(f"PRAGMA user_version = {VERSION}")
        except sqlite3.Error as error:
            raise ConfigError(f"{path}: cannot be used as an outbox ({error}); move it away") from error

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()

    # --- changes ------------------------------------------------------------------------------

    def put(self, objects: Iterable[DicomObject], targets: Iterable[str]) -> int:
        """Add objects; those that are already recorded for a destination are not changed.

        Args:
            objects: Objects in files below the folder.
            targets: Names of destinations.

        Returns:
            Number of new letters.
        """
        now = time.time()
        rows = [
            (target, item.uid, item.path.relative_to(self.folder).as_posix(), now, now)
            for target in targets
            for item in objects
        ]
        with transaction(self._db, self._lock):
            before = self._db.total_changes
            self._db.executemany(
                "INSERT OR IGNORE INTO letters (target, uid, path, since, due) VALUES (?, ?, ?, ?, ?)", rows
            )
            return self._db.total_changes - before

    def begin(self, letter: Letter) -> None:
        """Record an attempt before it is made."""
        with transaction(self._db, self._lock):
            self._db.execute(
                "UPDATE letters SET tries = tries + 1 WHERE target = ? AND uid = ?", (letter.target, letter.uid)
            )

    def settle(self, letter: Letter, delivery: Delivery, *, verified: bool = False) -> Delivery:
        """Record the result of an attempt; a failed one is due again after a pause, which doubles each time.

        Returns:
            The result: ``dead`` if it was tried for too long.
        """
        now = time.time()
        if delivery.state == "waiting" and now - letter.since > self._patience:
            delivery = Delivery("dead", f"{delivery.reason}; tried {letter.tries + 1} times, and given up")
        pause = min(MOST_PAUSE_S, 2.0 ** min(letter.tries, 30)) * random.uniform(0.75, 1.25)
        with transaction(self._db, self._lock):
            self._db.execute(
                "UPDATE letters SET state = ?, reason = ?, due = ?, ended = ?, verified = ?"
                " WHERE target = ? AND uid = ?",
                (
                    delivery.state,
                    delivery.reason,
                    now + pause,
                    None if delivery.state == "waiting" else now,
                    int(verified),
                    letter.target,
                    letter.uid,
                ),
            )
        return delivery

    def retry(self, targets: Iterable[str] | None = None) -> int:
        """Make dead letters and those in a pause due at once.

        Args:
            targets: Only letters to these destinations; None: all.

        Returns:
            Number of dead letters.
        """
        now, among = time.time(), None if targets is None else set(targets)
        letters = [letter for letter in self.letters(*DEAD, "waiting") if among is None or letter.target in among]
        with transaction(self._db, self._lock):
            self._db.executemany(
                "UPDATE letters SET since = CASE state WHEN 'waiting' THEN since ELSE ? END, state = 'waiting',"
                " due = ?, ended = NULL WHERE target = ? AND uid = ?",
                [(now, now, letter.target, letter.uid) for letter in letters],
            )
        return sum(letter.state in DEAD for letter in letters)

    # --- queries ------------------------------------------------------------------------------

    def letters(self, *states: str) -> list[Letter]:
        """The letters in these states, or all; sorted by the time of the next attempt."""
        marks = ", ".join("?" * len(states))
        where = f"WHERE state IN ({marks})" if states else ""
        columns = "target, uid, path, state, tries, since, due, ended, verified, reason"
        with self._lock:
            rows = self._db.execute(f"SELECT {columns} FROM letters {where} ORDER BY due, path", states).fetchall()
        return [Letter(*row) for row in rows]

    def due(self, target: str) -> list[Letter]:
        """The letters to a destination that are due, those with the fewest failures first.

        With this order, an object that makes its destination end the connection does not block the others.
        """
        now = time.time()
        due = [
            letter
            for letter in self.letters("waiting")
            if letter.target == target and not now < letter.due <= now + 2 * MOST_PAUSE_S
        ]
        return sorted(due, key=lambda letter: letter.tries)

    def uids(self) -> set[str]:
        """SOPInstanceUIDs of all objects that were ever added, that is, of this program's results."""
        with self._lock:
            return {row[0] for row in self._db.execute("SELECT DISTINCT uid FROM letters")}

    def counts(self) -> dict[str, dict[str, int]]:
        """Number of letters per destination and state."""
        found: dict[str, dict[str, int]] = {}
        with self._lock:
            rows = self._db.execute(
                "SELECT target, state, count(*) FROM letters GROUP BY target, state"
            ).fetchall()
        for target, state, count in rows:
            found.setdefault(target, dict.fromkeys(STATES, 0))[state] = count
        return found
