"""Parses post-processing rules; errors name the file, the key and the remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from itk_infer.errors import SpecError
from itk_infer.spec.postprocessing import OPS, Close, Custom, Inside, MinSize, Names, Open, Rule
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

REQUIRED = {MinSize: ("ml",), Open: ("mm",), Close: ("mm",), Inside: ("of", "labels"), Custom: ("function",)}


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
        "painted": a_switch,
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
