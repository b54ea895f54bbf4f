"""A disk for which tests do not wait: most of a run over small scans is waiting for one."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import Any, Protocol


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


def do_not_wait_for_the_disk() -> None:
    """Have this process leave to the system when files and databases reach the disk.

    No test asks what is on it after a power failure; what is there after a process was killed does not depend on it.
    Programs and workers that tests start are processes of their own, and wait.
    """
    connect = sqlite3.connect

    def connect_hastily(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = connect(*args, **kwargs)
        with contextlib.suppress(sqlite3.Error):  # what is wrong with a database is for the next statement to say
            connection.execute("PRAGMA synchronous = OFF")
        return connection

    def fsync(file: int | _HasFileno) -> None:
        os.fstat(file if isinstance(file, int) else file.fileno())  # fails where there is no such file

    sqlite3.connect = connect_hastily
    os.fsync = fsync
