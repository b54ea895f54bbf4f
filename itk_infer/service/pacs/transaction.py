"""Transactions of a SQLite database that threads share."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any


@contextmanager
def transaction(database: sqlite3.Connection, lock: AbstractContextManager[Any]) -> Iterator[None]:
    """A transaction that is on disk when it ends; an error rolls it back.

    Args:
        database: Opened without transactions of its own (``isolation_level=None``).
        lock: Held during the transaction; common to all threads that use the database.
    """
    with lock:
        database.execute("BEGIN IMMEDIATE")
        try:
            yield
            database.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.OperationalError):  # SQLite has ended it by itself where the disk is full
                database.execute("ROLLBACK")
            raise
