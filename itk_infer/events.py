"""What happens during a run, as values. Renderers live with the command line; fields are only ever added."""

from __future__ import annotations

import dataclasses
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The plan is made."""

    version: str
    cases: int
    skipped: int
    workers: int
    device: str
    model: str


@dataclass(frozen=True, slots=True)
class CaseStarted:
    """A case is read; `shape` is Z, Y, X as stored."""

    case: str
    worker: int
    shape: tuple[int, int, int]
    windows: int


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` windows of a case."""

    case: str
    worker: int
    stage: str
    done: int
    total: int
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class CaseDone:
    """A case is finished, and its files are verified; `stages` are the seconds of each part."""

    case: str
    outputs: tuple[str, ...]
    seconds: float
    confidence: float | None
    volumes_ml: dict[str, float]
    stages: dict[str, float]
    worker: int = 0


@dataclass(frozen=True, slots=True)
class CaseFailed:
    """A case cannot be finished."""

    case: str
    reason: str
    attempt: int
    worker: int = 0


@dataclass(frozen=True, slots=True)
class CaseSkipped:
    """A case needs nothing, or must not be touched; or an input is none.

    `sort` tells of the latter: ``unread``, of a format that is not read, or ``labels``, a result or label map.
    """

    case: str
    reason: str
    sort: str = ""


@dataclass(frozen=True, slots=True)
class Warned:
    """Something a person should know; nothing stopped for it."""

    message: str


@dataclass(frozen=True, slots=True)
class RunDone:
    """The end, also of an interrupted run."""

    done: int
    failed: int
    skipped: int
    seconds: float
    exit_code: int


Event = RunStarted | CaseStarted | Progress | CaseDone | CaseFailed | CaseSkipped | Warned | RunDone
Listener = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Events:
    """Hands every event to every listener."""

    listeners: list[Listener] = field(default_factory=list)
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    def emit(self, event: Event) -> None:
        """Tell everyone. Whoever cannot hear any more, as a pipe whose reader left, is told no more."""
        for listener in list(self.listeners):
            try:
                listener(event)
            except OSError:
                self.listeners.remove(listener)


def to_json(event: Event, run: str) -> dict[str, Any]:
    """The event as one JSON-ready mapping: ``event``, ``time`` (ISO 8601), ``run``, then its fields."""
    name = "warning" if isinstance(event, Warned) else re.sub("(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"event": name, "time": now, "run": run, **dataclasses.asdict(event)}
