"""The description of a model, from ``itk_infer inspect --json``."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from typing import Any, List, Optional, Sequence, Tuple

MAX_LABELS = 60


@dataclass(frozen=True)
class Label:
    """One label: its voxel value, name and colour (``#rrggbb``)."""

    value: int
    name: str
    color: str


@dataclass(frozen=True)
class About:
    """The settings that a run with this model would use. Triplets are Z, Y, X; empty strings mean not known."""

    name: str = "unnamed model"
    description: str = ""
    device: str = ""
    channels: Tuple[str, ...] = ("",)
    labels: Tuple[Label, ...] = ()
    patch: str = ""
    stride: str = ""
    spacing: str = ""
    intensity: str = ""
    level: Optional[float] = None
    width: Optional[float] = None
    decision: str = "argmax"
    notes: Tuple[str, ...] = ()


def read_about(lines: Sequence[str]) -> Optional[About]:
    """Parse the description of a model; None if the output holds none.

    Args:
        lines: What the program printed on stdout.
    """
    for line in lines:
        try:
            document = json.loads(line)
            return _about(document, document["spec"])
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return None


def _about(document: Any, spec: Any) -> About:
    steps = spec["input"].get("intensity") or []
    windows = [step for step in steps if step.get("op") == "window"]
    name = " ".join(str(part) for part in (spec.get("name"), spec.get("version")) if part)
    return About(
        name=name or "unnamed model",
        description=str(spec.get("description") or ""),
        device=str(document.get("device") or ""),
        channels=tuple(str(channel) for channel in spec["input"].get("channels") or ("",)),
        labels=tuple(
            Label(int(label["value"]), str(label["name"]), str(label["color"]))
            for label in document.get("labels", ())
        ),
        patch=_triplet(document["window"]["patch_size"]),
        stride=_triplet(document["window"]["patch_stride"]),
        spacing=_triplet(spec["input"].get("spacing")),
        intensity=", ".join(str(step.get("op")) for step in steps) or "as stored",
        level=float(windows[0]["level"]) if windows else None,
        width=float(windows[0]["width"]) if windows else None,
        decision=str(spec["output"].get("decision", "argmax")),
        notes=tuple(str(note) for note in document.get("notes", ())),
    )


def _triplet(values: Any) -> str:
    if not values or any(value is None for value in values):
        return ""
    return " ".join("%g" % value for value in values)


def about_html(about: About) -> str:
    """The description as a few lines of rich text, with the labels in their colours."""
    spacing = about.spacing + " mm" if about.spacing else "as stored"
    facts: List[str] = [
        "patch " + (about.patch or "whole volume"),
        "spacing " + spacing,
        "intensity " + about.intensity,
        "on " + (about.device or "?"),
    ]
    if about.level is not None and about.width is not None:
        facts[2] = "window level %g, width %g" % (about.level, about.width)
    if len(about.channels) > 1:
        facts.insert(0, "%d input channels" % len(about.channels))
    shown = [
        '<span style="color:%s">\u25a0</span>&nbsp;%s'
        % (html.escape(label.color), html.escape(label.name).replace(" ", "&nbsp;"))
        for label in about.labels[:MAX_LABELS]
    ]
    if len(about.labels) > len(shown):
        shown.append("and %d more" % (len(about.labels) - len(shown)))
    title = "<b>%s</b>" % html.escape(about.name)
    if about.description:
        title += " \u2013 " + html.escape(about.description)
    return "<br>".join([title, "&nbsp; ".join(shown), html.escape(" \u00b7 ".join(facts))])
