"""The heartbeat of a lock file: its holder changes the file every few seconds, other runs watch for changes.

Other runs measure time without a change with their own clocks, so clocks of two machines are never compared, and
no file lock of an operating system is needed, which network file systems may lack.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from itk_infer.errors import LockLostError

BEAT_S = 2.0
STALE_S = 60.0  # without a change, as observed: 30 beats
POLL_S = 0.25


class Heartbeat:
    """Changes a lock file every `BEAT_S` seconds, in a thread, until stopped or the lock is lost.

    Long computations of libraries release the interpreter lock, so the thread runs beside them.

    Args:
        path: The lock file.
        verify: Raises `LockLostError` if the file is no longer the holder's.

    Attributes:
        lost: The error of a lost lock; None while it is held.
    """

    def __init__(self, path: Path, verify: Callable[[], None]) -> None:
        self._path = path
        self._verify = verify
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lock heartbeat", daemon=True)
        self.lost: LockLostError | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread; afterwards, the file is not changed any more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        beats = 0
        while not self._stop.wait(BEAT_S):
            try:
                self._verify()
            except LockLostError as error:
                self.lost = error
                return
            beats += 1
            _change(self._path, beats)


def _change(path: Path, beats: int) -> None:
    """Change the last byte, which needs no disk space; after an error, the next beat tries again."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))  # never creates the file
        try:
            os.lseek(handle, -1, os.SEEK_END)
            os.write(handle, b"%d" % (beats % 10))
        finally:
            os.close(handle)
    with contextlib.suppress(OSError):
        os.utime(path)


def beating(
    paths: Iterable[Path],
    seconds: float,
    check: Callable[[], None] = lambda: None,
    *,
    all_of_them: bool = False,
) -> list[Path]:
    """Watch lock files, and return those that change.

    Time during which this process was suspended does not count, so suspending a machine makes no lock stale.

    Args:
        paths: Lock files. One that is removed counts as released, not as changed.
        seconds: How long to watch for the first change.
        check: Called often; raises `InterruptedRunError` to stop.
        all_of_them: Continue after the first change, until each has changed or the time is over.
    """
    before = {path: _signs(path) for path in paths}
    changed: set[Path] = set()
    watched, last = 0.0, time.monotonic()
    while watched < seconds and len(changed) < len(before):
        check()
        time.sleep(min(POLL_S, seconds))
        now = time.monotonic()
        watched, last = watched + min(now - last, 2 * POLL_S), now
        changed |= {path for path, signs in before.items() if _signs(path) not in (None, signs)}
        if changed and not all_of_them:
            break
        before = {path: signs for path, signs in before.items() if path in changed or path.exists()}
    return sorted(changed)


def _signs(path: Path) -> tuple[bytes, int, int] | None:
    """Content, time and inode, one of which a heartbeat or a new holder changes; None if there is no file."""
    try:
        with path.open("rb") as file:  # opening makes network file systems ask the server
            found = os.fstat(file.fileno())
            return file.read(4096), found.st_mtime_ns, found.st_ino
    except FileNotFoundError:
        return None
    except OSError:
        return b"", 0, 0
