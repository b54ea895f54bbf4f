"""One label of a model, with its name and colour in the outputs."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from itk_infer.spec.label_codes import LabelCode


@dataclass(frozen=True, slots=True)
class Label:
    """One label: a voxel value of label maps and its meaning.

    Attributes:
        value: Voxel value, 1 to 65,535.
        name: Name of the structure.
        color: sRGB as ``#rrggbb``.
        channel: Output channel of the network for this label.
        tolerance_mm: Tolerance of the surface Dice (NSD) in evaluations; None: the default. Does not affect masks.
        code: Codes of the structure for DICOM objects; None: the model has none.
        also: Further channels, whose regions are this label, too; see `distinct`.
    """

    value: int
    name: str
    color: str
    channel: int
    tolerance_mm: float | None = field(default=None, metadata={"later": True})
    code: LabelCode | None = field(default=None, metadata={"later": True})
    also: tuple[int, ...] = field(default=(), metadata={"later": True})

    @property
    def channels(self) -> tuple[int, ...]:
        """All channels of the label."""
        return self.channel, *self.also

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue, 0 to 255."""
        return int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16)


def distinct(painted: Iterable[Label]) -> tuple[Label, ...]:
    """Each value once, where it comes first, with the channels of all its entries.

    Args:
        painted: Labels in the order of painting; a value may occur several times, for different channels.
    """
    found: dict[int, Label] = {}
    for label in painted:
        first = found.get(label.value)
        found[label.value] = label if first is None else replace(first, also=(*first.also, *label.channels))
    return tuple(found.values())


def code_notes(labels: Iterable[Label]) -> tuple[str, ...]:
    """Notes for the user on the codes of labels, such as free text that is in no table of codes."""
    return tuple(
        f"label {label.name}: {label.code.note}" for label in distinct(labels) if label.code and label.code.note
    )


def default_color(value: int) -> str:
    """A colour that differs clearly from those of neighbouring values: hues step by the golden angle."""
    red, green, blue = colorsys.hsv_to_rgb(value * 0.381966 % 1.0, 0.75, 0.95)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
