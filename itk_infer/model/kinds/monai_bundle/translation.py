"""What became of each part of a bundle, line by line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from itk_infer.model.kinds.monai_bundle.graph import Component


@dataclass(frozen=True, slots=True)
class Line:
    """One part of a bundle.

    Attributes:
        place: Where it is in the config.
        theirs: MONAI's class with the arguments that matter.
        ours: What it is in the model spec; empty: it changes nothing, and is left out.
    """

    place: str
    theirs: str
    ours: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.theirs} -> {self.ours or 'left out, changes nothing'}"


@dataclass(slots=True)
class Translation:
    """A part of the model spec while it is collected.

    Attributes:
        lines: What became of each component.
        notes: What the user should know.
    """

    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, component: Component, ours: str = "", **arguments: Any) -> None:
        """Note what became of a component, with the arguments that mattered."""
        given = ", ".join(f"{key}={value}" for key, value in arguments.items())
        self.lines.append(Line(component.place, f"{component.name}({given})", ours))
