"""The events of a job, one JSON object per line of a file in its folder, so that they survive a restart."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

NAME = "events.jsonl"
PROGRESS_S = 0.2  # smallest interval between stored progress events, in seconds
_LOCK = threading.Lock()


class EventLog:
    """Appends the events of one job to its file.

    Args:
        folder: Folder of the job.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._last_progress = 0.0

    def append(self, event: dict[str, Any]) -> None:
        """Store an event; of progress events, a few per second and the last one."""
        if event["event"] == "progress" and event["done"] < event["total"]:
            if time.monotonic() - self._last_progress < PROGRESS_S:
                return
            self._last_progress = time.monotonic()
        line = json.dumps(event).encode() + b"\n"
        with _LOCK, self._path.open("ab+") as file:
            file.seek(0, 2)
            if file.tell():
                file.seek(-1, 2)
                if file.read(1) != b"\n":  # incomplete line of a killed server
                    line = b"\n" + line
            file.write(line)


def read_events(folder: Path, after: int = 0) -> list[tuple[int, str]]:
    """The complete events of a job with numbers above `after`, each with its number, counted from 1."""
    try:
        lines = (folder / NAME).read_bytes().split(b"\n")[:-1]
    except OSError:
        return []
    numbered = enumerate((line.decode("utf-8", "replace") for line in lines), 1)
    return [(number, line) for number, line in numbered if number > after and line.endswith("}")]
