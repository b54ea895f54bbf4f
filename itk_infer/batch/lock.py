"""One run an output folder: a lock file that a crashed run cannot leave shut."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from itk_infer.errors import ConfigError

NAME = "itk_infer.lock"
HEARTBEAT_S = 10.0
STALE_S = 120.0


class FolderLock:
    """Holds ``itk_infer.lock`` in a folder while a run writes there; its modification time is the heartbeat.

    A lock is stale, and taken over, when its process is gone (same host) or its heartbeat is old.

    Attributes:
        crashed_at: When the run whose stale lock was taken over gave its last sign, in seconds since
            the epoch; None if the last run ended well.

    Raises:
        ConfigError: another run is at work there.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lock heartbeat", daemon=True)
        self.crashed_at: float | None = None

    def __enter__(self) -> FolderLock:
        while not self._create():
            self._take_over()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def _create(self) -> bool:
        owner = {"host": socket.gethostname(), "pid": os.getpid(), "started": time.time()}
        try:
            with self._path.open("x", encoding="utf-8") as file:
                json.dump(owner, file)
        except FileExistsError:
            return False
        except OSError as error:
            raise ConfigError(f"{self._path}: cannot be created ({error.strerror})") from None
        return True

    def _take_over(self) -> None:
        """Move a stale lock away; whoever then creates the new one holds it."""
        try:
            beat = self._path.stat().st_mtime
            owner = _owner(self._path)
        except FileNotFoundError:
            return  # released in this moment
        if not _gone(owner) and time.time() - beat < STALE_S:
            raise ConfigError(
                f"{self._path.parent}: another run is writing there (process {owner.get('pid', 'unknown')} on "
                f"{owner.get('host', 'an unknown host')}); wait for it, or choose another output folder"
            )
        self.crashed_at = beat
        aside = self._path.with_name(f"{NAME}.{os.getpid()}")
        try:
            self._path.replace(aside)
        except FileNotFoundError:
            return
        aside.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            try:
                os.utime(self._path)
            except OSError:
                return  # the folder is gone or the lock was taken; writes will say so


def _owner(path: Path) -> dict[str, Any]:
    try:
        owner = json.loads(path.read_text("utf-8"))
    except ValueError:  # torn by a crash
        return {}
    return owner if isinstance(owner, dict) else {}


def _gone(owner: dict[str, Any]) -> bool:
    """Whether the owner certainly is no more; only knowable on its own host."""
    pid = owner.get("pid")
    if owner.get("host") != socket.gethostname() or not isinstance(pid, int) or os.name != "posix":
        return False
    if pid == os.getpid():
        return True  # a container that was started again
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
