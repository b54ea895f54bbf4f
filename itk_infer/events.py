"""Events of a run, as values. The command line renders them; fields are only ever added, never removed."""

from __future__ import annotations

import dataclasses
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, get_args


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The run has been planned: how many cases it will run and skip, and with what."""

    version: str
    cases: int
    skipped: int
    workers: int
    device: str
    model: str


@dataclass(frozen=True, slots=True)
class CaseStarted:
    """A case has been read; `shape` is its stored size, Z Y X."""

    case: str
    worker: int
    shape: tuple[int, int, int]
    windows: int


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` windows of a case are done; `eta_s` is the estimated time left of this case."""

    case: str
    worker: int
    stage: str
    done: int
    total: int
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class CaseDone:
    """A case is finished and its files are verified; `stages` holds the seconds of each stage.

    `soft_dice` is that of `worst_label`, the label with the lowest; 0 without a label where nothing was found.
    """

    case: str
    outputs: tuple[str, ...]
    seconds: float
    confidence: float | None
    volumes_ml: dict[str, float]
    stages: dict[str, float]
    worker: int = 0
    soft_dice: float | None = None
    worst_label: str | None = None


@dataclass(frozen=True, slots=True)
class CaseFailed:
    """A case cannot be finished."""

    case: str
    reason: str
    attempt: int
    worker: int = 0


@dataclass(frozen=True, slots=True)
class CaseSkipped:
    """A case that is up to date or must not be overwritten, or an input that is not an image to segment.

    For such inputs `sort` is ``unread`` (a format that is not supported) or ``labels`` (a result or label map).
    """

    case: str
    reason: str
    sort: str = ""


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning for the user; the run continues."""

    message: str


@dataclass(frozen=True, slots=True)
class RunDone:
    """The end of a run, also of an interrupted one."""

    done: int
    failed: int
    skipped: int
    seconds: float
    exit_code: int


Event = RunStarted | CaseStarted | Progress | CaseDone | CaseFailed | CaseSkipped | Warned | RunDone
Listener = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Events:
    """Passes every event to every listener.

    Attributes:
        listeners: Functions that take an event.
        run: Random id of the run, part of every JSON event.
    """

    listeners: list[Listener] = field(default_factory=list)
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    def emit(self, event: Event) -> None:
        """Call every listener. One that raises OSError, such as a closed pipe, is removed."""
        for listener in list(self.listeners):
            try:
                listener(event)
            except OSError:
                self.listeners.remove(listener)


def to_json(event: Event, run: str) -> dict[str, Any]:
    """The event as one JSON-ready mapping: ``event``, ``time`` (ISO 8601), ``run``, then its fields."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"event": _name(type(event)), "time": now, "run": run, **dataclasses.asdict(event)}


def from_json(document: Mapping[str, Any]) -> Event | None:
    """The event of a mapping that `to_json` made, perhaps in another version; None if it is not known."""
    kind = _KINDS.get(document.get("event", ""))
    if kind is None:
        return None
    known = {field.name: document[field.name] for field in dataclasses.fields(kind) if field.name in document}
    lists = {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
    try:
        event: Event = kind(**known | lists)
    except TypeError:  # a field is missing
        return None
    return event


def _name(kind: type[Event]) -> str:
    return "warning" if kind is Warned else re.sub("(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


_KINDS = {_name(kind): kind for kind in get_args(Event)}
