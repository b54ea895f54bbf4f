"""Lock files of made-up runs: of this process namespace, of another one, of another machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from itk_infer.files.lock_owner import LockOwner, this_process
from itk_infer.run.heartbeat import _change
from itk_infer.system import process_start

ELSEWHERE = {
    "another namespace": {"namespace": "pid:[1] time:[1]"},
    "another boot": {"boot": "00000000-0000-0000-0000-000000000000"},
    "another host": {"host": "elsewhere", "boot": "00000000-0000-0000-0000-000000000000"},
    "no boot id": {"boot": None},
    "no token": {"token": None},
}


def living_owner(**changes) -> LockOwner:
    """A run of another process of this namespace, one that lives: the parent of the tests."""
    pid = os.getppid()
    return replace(this_process(), **{"pid": pid, "start": process_start(pid), **changes})


def write_lock(path: Path, **changes) -> bytes:
    """A lock of `living_owner`, by a new name first, so that it appears complete."""
    content = living_owner(**changes).to_bytes()
    new = path.with_name("new lock")
    new.write_bytes(content)
    new.replace(path)
    return content


@contextmanager
def beating_lock(path: Path, seconds: float = 0.02) -> Iterator[None]:
    """Within the block, the lock's heart beats."""
    stop = threading.Event()

    def beat() -> None:
        beats = 0
        while not stop.wait(seconds):
            beats += 1
            _change(path, beats)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
