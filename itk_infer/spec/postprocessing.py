"""The post-processing rules of a model spec, as pure data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from itk_infer.errors import SpecError
from itk_infer.spec.labels import Label

Names = tuple[str | int, ...]  # labels by name or value; empty: all
Plane = Literal["3d", "axial", "coronal", "sagittal"]


@dataclass(frozen=True, slots=True)
class KeepLargest:
    """Keep the largest connected components; the others become background.

    Attributes:
        labels: Labels that it applies to.
        count: Components to keep of each; all that are as large as the smallest of these stay, too.
        group: Whether the labels are taken together, as one structure.
        connectivity: Neighbours of a voxel: 6, 18 or 26.
        painted: For labels that overlap: whether components are those of the painted label map, as in nnU-Net, and
            not of each label's own mask. See `act_on_layers`.
    """

    labels: Names = ()
    count: int = 1
    group: bool = False
    connectivity: int = 26
    painted: bool = field(default=False, metadata={"later": True})


@dataclass(frozen=True, slots=True)
class MinSize:
    """Components smaller than `ml` millilitres become background. Other attributes as of `KeepLargest`."""

    ml: float
    labels: Names = ()
    group: bool = False
    connectivity: int = 26


@dataclass(frozen=True, slots=True)
class FillHoles:
    """Background that a label encloses becomes that label; other labels inside it stay as they are.

    Attributes:
        labels: Labels that it applies to, in the order of the label table.
        mode: ``3d``: enclosed on all sides. Others: enclosed within the plane.
    """

    labels: Names = ()
    mode: Plane = "3d"


@dataclass(frozen=True, slots=True)
class Open:
    """Opening with a ball of `mm` millimetres: what no such ball inside the label covers becomes background."""

    mm: float
    labels: Names = ()


@dataclass(frozen=True, slots=True)
class Close:
    """Closing with a ball of `mm` millimetres: what no such ball outside the label covers becomes it."""

    mm: float
    labels: Names = ()


@dataclass(frozen=True, slots=True)
class Inside:
    """Voxels farther than `margin_mm` from every voxel of the labels `of` become background."""

    of: Names
    labels: Names = ()
    margin_mm: float = 0.0


@dataclass(frozen=True, slots=True)
class Custom:
    """A function of the user's.

    Attributes:
        function: ``module:function`` of ``(labels, spacing_zyx, table, **settings)``, which returns an array of
            the same shape and type; labels are (Z, Y, X), spacing in mm, the table is from name to value.
        settings: Its keyword arguments, as sorted pairs.
        sha256: SHA-256 of the module's file, so that a result is not reused after a change of it.
    """

    function: str
    settings: tuple[tuple[str, Any], ...] = ()
    sha256: str = field(default="", metadata={"later": True})


Rule = KeepLargest | MinSize | FillHoles | Open | Close | Inside | Custom
OPS: dict[str, type[Rule]] = {
    "keep_largest": KeepLargest,
    "min_size": MinSize,
    "fill_holes": FillHoles,
    "open": Open,
    "close": Close,
    "inside": Inside,
    "custom": Custom,
}


def act_on_layers(given: Sequence[Rule]) -> bool:
    """Whether rules change each label's own mask where labels overlap, or all of them the painted label map."""
    return not any(isinstance(rule, KeepLargest) and rule.painted for rule in given)


def op_of(rule: Rule) -> str:
    """The name of a rule's operation."""
    return next(op for op, kind in OPS.items() if type(rule) is kind)


def plain_rules(given: Sequence[Rule]) -> list[dict[str, Any]]:
    """Rules as the JSON-ready list that `rules` reads back."""
    return [_plain_rule(rule) for rule in given]


def labels_of(names: Names, table: Sequence[Label], where: str) -> tuple[Label, ...]:
    """The labels that a rule names, in the order of the table; all if it names none.

    Raises:
        SpecError: the table has no such label.
    """
    if not names:
        return tuple(table)
    for name in names:
        if not any(name in (label.name, label.value) for label in table):
            there = ", ".join(f"{label.value} ({label.name})" for label in table[:12])
            more = f" and {len(table) - 12} more" if len(table) > 12 else ""
            raise SpecError(f"{where}: there is no label {name!r}; there are {there or 'none'}{more}")
    return tuple(label for label in table if label.name in names or label.value in names)


def check_labels(given: Sequence[Rule], table: Sequence[Label]) -> None:
    """Refuse rules that name labels that there are not.

    Raises:
        SpecError: naming the rule.
    """
    for number, rule in enumerate(given, 1):
        for key in ("labels", "of"):
            labels_of(getattr(rule, key, ()), table, f"post-processing rule {number} ({op_of(rule)})")


def _plain_rule(rule: Rule) -> dict[str, Any]:
    content: dict[str, Any] = {"op": op_of(rule)}
    for item in fields(rule):
        value = getattr(rule, item.name)
        if item.name == "settings":
            value = dict(value)
        if item.metadata.get("later") and value == item.default:
            continue
        content[item.name] = list(value) if isinstance(value, tuple) else value
    return content
