"""The post-processing rules of a model spec, as pure data, and their parser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from itk_infer.errors import SpecError
from itk_infer.spec.labels import Label
from itk_infer.spec.values import (
    Converter,
    Invalid,
    a_list,
    a_number,
    a_positive,
    a_switch,
    a_text,
    an_integer,
    anything,
    one_of,
    read_block,
    repr_short,
)

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
    """

    labels: Names = ()
    count: int = 1
    group: bool = False
    connectivity: int = 26


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
        settings: Its keywords, as sorted pairs.
        sha256: Of the module's file, so that a result is not reused after a change of it.
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
REQUIRED = {MinSize: ("ml",), Open: ("mm",), Close: ("mm",), Inside: ("of", "labels"), Custom: ("function",)}


def op_of(rule: Rule) -> str:
    """The name of a rule's operation."""
    return next(op for op, kind in OPS.items() if type(rule) is kind)


def rules(value: Any, where: str) -> tuple[Rule, ...]:
    """A converter: a list of rules, which are applied in its order."""
    return tuple(_rule(item, f"{where}[{index}]") for index, item in enumerate(a_list(value, where)))


def parse_rules(document: Any, source: str) -> tuple[Rule, ...]:
    """The rules of a file: a list, or an object whose only key is ``postprocessing``.

    Raises:
        SpecError: naming `source`, the key, and what is valid.
    """
    if isinstance(document, Mapping) and set(document) == {"postprocessing"}:
        document = document["postprocessing"]
    try:
        return rules(document, "rules")
    except Invalid as error:
        raise SpecError(f"{source}: {error}") from None


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


def _rule(value: Any, where: str) -> Rule:
    if not isinstance(value, Mapping) or "op" not in value:
        raise Invalid(f"{where} must be an object with an 'op', one of {', '.join(OPS)}")
    op = one_of(*OPS)(value["op"], f"{where}.op")
    kind = OPS[op]
    converters: dict[str, Converter] = {
        "labels": _names,
        "of": _names,
        "count": _count,
        "group": a_switch,
        "connectivity": _connectivity,
        "ml": a_positive,
        "mm": a_positive,
        "margin_mm": _margin,
        "mode": one_of("3d", "axial", "coronal", "sagittal"),
        "function": _function,
        "settings": _settings,
        "sha256": a_text,
    }
    rest = {key: item for key, item in value.items() if key != "op"}
    values = read_block(rest, where, {item.name: converters[item.name] for item in fields(kind)})
    for key in REQUIRED.get(kind, ()):
        if not values.get(key):
            raise Invalid(f"{where}: {op} needs {key}")
    return kind(**values)


def _names(value: Any, where: str) -> Names:
    items = a_list([value] if isinstance(value, str | int) else value, where)
    for item in items:
        if isinstance(item, bool) or not isinstance(item, str | int):
            raise Invalid(f"{where} holds names or values of labels, not {repr_short(item)}")
    return tuple(items)


def _count(value: Any, where: str) -> int:
    number = an_integer(value, where)
    if number < 1:
        raise Invalid(f"{where} must be 1 or more, not {number}")
    return number


def _connectivity(value: Any, where: str) -> int:
    if value not in (6, 18, 26):
        raise Invalid(f"{where} must be 6, 18 or 26, not {repr_short(value)}")
    return int(value)


def _margin(value: Any, where: str) -> float:
    number = a_number(value, where)
    if number < 0:
        raise Invalid(f"{where} must be 0 or more, not {repr_short(value)}")
    return number


def _function(value: Any, where: str) -> str:
    text = a_text(value, where)
    module, _, name = text.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), name)):
        raise Invalid(f"{where} must look like 'module:function', not {repr_short(value)}")
    return text


def _settings(value: Any, where: str) -> tuple[tuple[str, Any], ...]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise Invalid(f"{where} must be an object, not {repr_short(value)}")
    return tuple(sorted((key, anything(item, where)) for key, item in value.items()))
