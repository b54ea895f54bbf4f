"""The run that holds a lock, as described in its lock file, and whether that run is still running."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from dataclasses import asdict, dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any

from itk_infer.system import boot_id, is_running, process_namespace, process_start

_LONGEST = 4096  # bytes of a lock file


class Fate(Enum):
    """The run that wrote a lock file, and what can be determined about it without waiting for its heartbeat."""

    ALIVE = "alive"
    GONE = "gone"
    UNKNOWN = "unknown"  # on another machine or in another container, or a damaged file: the heartbeat decides


@dataclass(frozen=True, slots=True)
class LockOwner:
    """A run, as described by the first line of its lock file. Fields that are not known are None.

    Attributes:
        token: Random, unique to this lock.
        host: Name of the machine or container.
        pid: Process id, within `namespace`.
        start: Start of the process, see `process_start`.
        boot: See `boot_id`.
        namespace: See `process_namespace`.
        started: Seconds since the epoch by the clock of `host`; only shown to the user.
    """

    token: str | None = None
    host: str | None = None
    pid: int | None = None
    start: int | None = None
    boot: str | None = None
    namespace: str | None = None
    started: float | None = None

    def __str__(self) -> str:
        pid = "unknown" if self.pid is None else self.pid
        return f"process {pid} on {self.host or 'an unknown host'}"

    def to_bytes(self) -> bytes:
        """The content of a lock file: one line of JSON, then one digit that the heartbeat changes."""
        return json.dumps(asdict(self)).encode() + b"\n0"

    @property
    def fate(self) -> Fate:
        """Whether the run is still running.

        A process id is only meaningful within its namespace, on its machine, since the last boot. Elsewhere a
        missing process proves nothing.
        """
        boot, namespace = boot_id(), process_namespace()
        here = boot is not None and namespace != "" and (self.boot, self.namespace) == (boot, namespace)
        if not here or self.token is None or self.pid is None or not 0 < self.pid < 2**31:
            return Fate.UNKNOWN
        return Fate.ALIVE if is_running(self.pid, self.start) else Fate.GONE


def this_process() -> LockOwner:
    """This process as an owner, with a new token."""
    pid = os.getpid()
    return LockOwner(
        token=uuid.uuid4().hex,
        host=socket.gethostname(),
        pid=pid,
        start=process_start(pid),
        boot=boot_id(),
        namespace=process_namespace(),
        started=time.time(),
    )


def read_owner(path: Path) -> LockOwner:
    """Read the owner from a lock file; all fields are None if it is damaged or another program's.

    Raises:
        OSError: the file is missing, or cannot be read.
    """
    with path.open("rb") as file:
        line = file.read(_LONGEST).partition(b"\n")[0]
    try:
        values: Any = json.loads(line)
    except ValueError:
        return LockOwner()
    if not isinstance(values, dict):
        return LockOwner()
    known = {field.name: values.get(field.name) for field in fields(LockOwner)}
    types: dict[str, Any] = {"pid": int, "start": int, "started": (int, float)}
    return LockOwner(
        **{k: v for k, v in known.items() if type(v) is not bool and isinstance(v, types.get(k, str))}
    )
