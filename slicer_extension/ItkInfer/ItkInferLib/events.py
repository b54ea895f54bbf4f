"""Parses the lines of ``itk_infer --progress json``; other output in the same pipe is ignored."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, fields
from typing import Any, Dict, Optional, Tuple, Type


@dataclass(frozen=True)
class Event:
    """An event of the program. Fields that are missing or of another type keep their default."""


@dataclass(frozen=True)
class RunStarted(Event):
    """The run has been planned."""

    version: str = ""
    cases: int = 0
    skipped: int = 0
    device: str = ""
    model: str = ""


@dataclass(frozen=True)
class CaseStarted(Event):
    """A case has been read."""

    case: str = ""
    windows: int = 0


@dataclass(frozen=True)
class Progress(Event):
    """`done` of `total` windows of a case are done; `eta_s` is the estimated time left of this case."""

    case: str = ""
    done: int = 0
    total: int = 0
    eta_s: Optional[float] = None


@dataclass(frozen=True)
class CaseDone(Event):
    """A case is finished, and its files are verified."""

    case: str = ""
    outputs: Tuple[str, ...] = ()
    seconds: float = 0.0
    confidence: Optional[float] = None
    volumes_ml: Dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CaseFailed(Event):
    """A case cannot be finished."""

    case: str = ""
    reason: str = ""


@dataclass(frozen=True)
class CaseSkipped(Event):
    """A case that is up to date, or must not be overwritten."""

    case: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Warned(Event):
    """A warning; the run continues."""

    message: str = ""


@dataclass(frozen=True)
class RunDone(Event):
    """The end of a run, also of an interrupted one."""

    done: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    exit_code: int = 0


KINDS: Dict[str, Type[Event]] = {
    "run_started": RunStarted,
    "case_started": CaseStarted,
    "progress": Progress,
    "case_done": CaseDone,
    "case_failed": CaseFailed,
    "case_skipped": CaseSkipped,
    "warning": Warned,
    "run_done": RunDone,
}


def parse(line: str) -> Optional[Event]:
    """The event in a line; None for other output, incomplete lines and events of later versions."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    name = document.get("event") if isinstance(document, dict) else None
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        return None
    known = {}
    for each in fields(kind):
        value = _as_declared(str(each.type), document.get(each.name))
        if value is not None:
            known[each.name] = value
    return kind(**known)


def _as_declared(declared: str, value: Any) -> Any:
    """`value` as the declared type, or None if it has another type."""
    if declared == "str":
        return value if isinstance(value, str) else None
    if declared.startswith("Tuple"):
        return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else None
    if declared.startswith("Dict"):
        if not isinstance(value, dict):
            return None
        return {key: item for key, item in value.items() if _is_number(item)}
    if not _is_number(value):
        return None
    return int(value) if declared == "int" else float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
