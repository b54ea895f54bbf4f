"""Room on the disk of a node's home."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from itk_infer.errors import OutputError
from itk_infer.service.pacs.troubles import Troubles

LEAST = 1 << 20  # bytes without which nothing is begun, whatever the settings say
DISK_FAULTS = (OSError, sqlite3.OperationalError)  # what writing to a full disk raises


def is_full(error: BaseException | None) -> bool:
    """Whether an error of the file system, or of SQLite, means that the disk is full."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def says_full(reason: str) -> bool:
    """Whether the reason why a case failed is that the disk is full; in SQLite's words, too."""
    return "disk is full" in reason


def in_a_sentence(error: BaseException, home: Path) -> BaseException:
    """The error; a full disk as a sentence with a remedy."""
    if not is_full(error):
        return error
    return OutputError(f"{home}: cannot be written: the disk is full; free some space and run again")


class Room:
    """Decides whether there is room to compute.

    A disk on which `least` bytes are free can still be too small for a study. After it was full, more must be free
    than at that moment: otherwise the same study would be computed again and again, each time to the same end.

    Args:
        home: A folder on the disk.
        least: Bytes that must be free.
        troubles: Reports a disk without room.
    """

    def __init__(self, home: Path, least: int, troubles: Troubles) -> None:
        self._home = home
        self._least = max(least, LEAST)
        self._troubles = troubles
        self._wanted = 0

    def is_there(self) -> bool:
        """Whether there is room now; if not, it is reported."""
        if shutil.disk_usage(self._home).free >= max(self._least, self._wanted):
            self._wanted = 0
            self._troubles.well("the disk")
            return True
        self._troubles.ill("the disk", "is nearly full: nothing is computed until there is room")
        return False

    def was_full(self) -> None:
        """Note that the disk was full a moment ago."""
        self._wanted = shutil.disk_usage(self._home).free + max(LEAST, self._least // 10)

    def unless_full(self, step: Callable[[], object]) -> bool:
        """Take a step; return False if the disk is full, which is reported."""
        try:
            step()
        except DISK_FAULTS as error:
            if not is_full(error):
                raise
            self.was_full()
            self.is_there()
            return False
        return True
