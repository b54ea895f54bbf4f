"""How each part of a bundle is translated to the model spec, line by line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from itk_infer.model.kinds.monai_bundle.graph import Component


@dataclass(frozen=True, slots=True)
class Line:
    """One part of a bundle.

    Attributes:
        place: Its place in the config.
        theirs: MONAI's class with the arguments that change the result.
        ours: Its translation in the model spec; empty: it has no effect and is left out.
    """

    place: str
    theirs: str
    ours: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.theirs} -> {self.ours or 'left out, changes nothing'}"


@dataclass(slots=True)
class Translation:
    """Base of the parts of a model spec that are collected from a bundle.

    Attributes:
        lines: How each component is translated.
        notes: Sentences for the user.
    """

    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, component: Component, ours: str = "", **arguments: Any) -> None:
        """Record how a component is translated, with the arguments that change the result."""
        given = ", ".join(f"{key}={value}" for key, value in arguments.items())
        self.lines.append(Line(component.place, f"{component.name}({given})", ours))
