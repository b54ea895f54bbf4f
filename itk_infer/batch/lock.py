"""One run an output folder: a lock file that a crashed run cannot leave shut."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from itk_infer.batch.shard import Shard
from itk_infer.errors import ConfigError

NAME = "itk_infer.lock"
HEARTBEAT_S = 10.0
STALE_S = 120.0
MOST_TRIES = 100  # locks that others release and take in the same moment


class FolderLock:
    """Holds ``itk_infer.lock`` in a folder while a run writes there; its modification time is the heartbeat.

    A shard holds a lock of its own: shards of one division share a folder, and nobody else does with them.
    A lock is stale, and taken over, when its process is gone (same host) or its heartbeat is old.

    Args:
        folder: The folder.
        shard: The part of it that the run is for; None: all.

    Attributes:
        crashed_at: When the run whose stale lock was taken over gave its last sign, in seconds since
            the epoch; None if the last run ended well.

    Raises:
        ConfigError: another run is at work there.
    """

    def __init__(self, folder: Path, shard: Shard | None = None) -> None:
        self._path = folder / (f"{shard.stem}.lock" if shard else NAME)
        self._friends = f"-of-{shard.count}.lock" if shard else None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lock heartbeat", daemon=True)
        self.crashed_at: float | None = None
        self.since = time.time()

    def __enter__(self) -> FolderLock:
        for _ in range(MOST_TRIES):
            if self._create():
                break
            self._take_over()
        else:
            raise ConfigError(f"{self._path}: cannot be taken over; remove it if no run is at work there")
        for path in self.others():
            if self._friends is None or not path.name.endswith(self._friends):
                self._path.unlink(missing_ok=True)
                raise _refusal(path)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def others(self) -> list[Path]:
        """Locks of other runs that are at work in the folder."""
        paths = self._path.parent.glob("itk_infer*.lock")
        return [path for path in sorted(paths) if path != self._path and is_held(path)]

    def _create(self) -> bool:
        owner = {"host": socket.gethostname(), "pid": os.getpid(), "started": time.time()}
        try:
            with self._path.open("x", encoding="utf-8") as file:
                json.dump(owner, file)
        except FileExistsError:
            return False
        except OSError as error:
            self._path.unlink(missing_ok=True)  # without an owner it would keep others out for a while
            raise ConfigError(f"{self._path}: cannot be created ({error.strerror})") from None
        return True

    def _take_over(self) -> None:
        """Move a stale lock away; whoever then creates the new one holds it."""
        try:
            found = self._path.lstat()
        except FileNotFoundError:
            return  # released in this moment
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{self._path}: is no lock file of a run; remove it")
        if is_held(self._path):
            raise _refusal(self._path)
        aside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            self._path.replace(aside)
        except FileNotFoundError:
            return
        if aside.lstat().st_ino != found.st_ino:  # somebody was faster, and this is the new lock
            aside.replace(self._path)
            raise _refusal(self._path)
        self.crashed_at = found.st_mtime
        aside.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            try:
                os.utime(self._path)
            except OSError:
                return  # the folder is gone or the lock was taken; writes will say so


def is_held(path: Path) -> bool:
    """Whether the run that made a lock can still be at work."""
    try:
        return not _gone(owner_of(path)) and time.time() - path.stat().st_mtime < STALE_S
    except FileNotFoundError:
        return False


def _refusal(path: Path) -> ConfigError:
    try:
        owner = owner_of(path)
    except FileNotFoundError:
        owner = {}
    return ConfigError(
        f"{path.parent}: another run is writing there (process {owner.get('pid', 'unknown')} on "
        f"{owner.get('host', 'an unknown host')}); wait for it, or choose another output folder"
    )


def owner_of(path: Path) -> dict[str, Any]:
    """Host, process and start of the run that made a lock; empty if it is torn."""
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
