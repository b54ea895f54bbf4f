"""Converters of spec values: each takes a value from JSON and its position in the spec, and returns it checked."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Converter = Callable[[Any, str], Any]
MAX_SIZE = 2**20  # voxels along an axis
MIN_SPACING, MAX_SPACING = 1e-6, 1e6  # mm


class Invalid(Exception):
    """An invalid value; `itk_infer.spec.parse.parse_spec` adds the name of the source."""


def read_block(value: Any, where: str, keys: Mapping[str, Converter]) -> dict[str, Any]:
    """Convert a mapping of known keys, each value with its converter."""
    if not isinstance(value, Mapping):
        raise Invalid(f"{where or 'the spec'} must be an object, not {repr_short(value)}")
    converted = {}
    for key, item in value.items():
        path = f"{where}.{key}" if where else str(key)
        if key not in keys:
            import difflib

            close = difflib.get_close_matches(str(key), keys, n=1, cutoff=0)
            raise Invalid(f"unknown key {path}; did you mean {close[0]}?" if close else f"unknown key {path}")
        converted[key] = keys[key](item, path)
    return converted


def the_version(value: Any, where: str) -> int:
    """The version of the format, 1."""
    if value != 1 or isinstance(value, bool):
        raise Invalid(f"{where} is {repr_short(value)}; this program reads version 1")
    return 1


def a_text(value: Any, where: str) -> str:
    """Text."""
    if not isinstance(value, str):
        raise Invalid(f"{where} must be text, not {repr_short(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a pair of surrogates, which JSON can hold and no file can
        raise Invalid(f"{where} is {repr_short(value)}, which cannot be written as text") from None
    return value


def is_number(value: Any) -> bool:
    """Whether a value is a finite number and not a bool; JSON may hold integers that no float can."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def a_number(value: Any, where: str) -> float:
    """A finite number, as float."""
    if not is_number(value):
        raise Invalid(f"{where} must be a number, not {repr_short(value)}")
    return float(value)


def a_positive(value: Any, where: str) -> float:
    """A number above 0."""
    number = a_number(value, where)
    if number <= 0:
        raise Invalid(f"{where} must be above 0, not {repr_short(value)}")
    return number


def a_share(value: Any, where: str) -> float:
    """A number above 0, at most 1."""
    number = a_positive(value, where)
    if number > 1:
        raise Invalid(f"{where} must be at most 1, not {repr_short(value)}")
    return number


def a_switch(value: Any, where: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Invalid(f"{where} must be true or false, not {repr_short(value)}")
    return value


def an_integer(value: Any, where: str) -> int:
    """A whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise Invalid(f"{where} must be a whole number, not {repr_short(value)}")
    return value


def anything(value: Any, where: str) -> Any:
    """Any value; checked later, because its validity depends on other keys."""
    return value


def a_list(value: Any, where: str) -> Sequence[Any]:
    """A list."""
    if not isinstance(value, list | tuple):
        raise Invalid(f"{where} must be a list, not {repr_short(value)}")
    return value


def a_triplet(value: Any, where: str) -> Sequence[Any]:
    """Three values, Z Y X."""
    items = a_list(value, where)
    if len(items) != 3:
        raise Invalid(f"{where} must hold three values (Z, Y, X), not {len(items)}")
    return items


def a_size(value: Any, where: str) -> tuple[int, ...]:
    """Three whole numbers of at least 1, Z Y X."""
    items = tuple(an_integer(item, where) for item in a_triplet(value, where))
    _check_size(items, where)
    return items


def _check_size(items: Sequence[int], where: str) -> None:
    if any(item < 1 for item in items):
        raise Invalid(f"{where} must be 1 or more on every axis, not {list(items)}")
    if any(item > MAX_SIZE for item in items):
        raise Invalid(f"{where} must be at most {MAX_SIZE:,} on every axis, not {repr_short(list(items))}")


def a_partial_size(value: Any, where: str) -> tuple[int | None, ...] | None:
    """Three whole numbers of at least 1 or null, Z Y X; None if all are null."""
    items = tuple(None if item is None else an_integer(item, where) for item in a_triplet(value, where))
    _check_size([item for item in items if item is not None], where)
    return None if items == (None, None, None) else items


def two_or_three(value: Any, where: str) -> int:
    """2 or 3."""
    if value not in (2, 3) or isinstance(value, bool):
        raise Invalid(f"{where} must be 2 or 3, not {repr_short(value)}")
    return int(value)


def a_spacing(value: Any, where: str) -> tuple[float | None, ...] | None:
    """Three numbers above 0 or null, Z Y X; None if all are null."""
    items = tuple(None if item is None else a_positive(item, where) for item in a_triplet(value, where))
    if any(item is not None and not MIN_SPACING <= item <= MAX_SPACING for item in items):
        raise Invalid(f"{where} must lie between {MIN_SPACING:g} and {MAX_SPACING:g} mm, not {repr_short(value)}")
    return None if items == (None, None, None) else items


def some_axes(value: Any, where: str) -> tuple[int, ...]:
    """Axes 0 (Z), 1 (Y), 2 (X), each at most once."""
    axes = tuple(an_integer(item, where) for item in a_list(value, where))
    if any(axis not in (0, 1, 2) for axis in axes) or len(set(axes)) != len(axes):
        raise Invalid(f"{where} holds axes 0 (Z), 1 (Y), 2 (X), each at most once, not {list(axes)}")
    return axes


def some_names(value: Any, where: str) -> tuple[str, ...]:
    """At least one text; only the empty text may occur twice."""
    names = tuple(a_text(item, where) for item in a_list(value, where))
    if not names:
        raise Invalid(f"{where} must name at least one input channel")
    twice = [name for name in names if name.strip() and names.count(name) > 1]
    if twice:
        raise Invalid(f"{where} names {twice[0]} twice; each channel needs its own name")
    return names


def some_numbers(value: Any, where: str) -> tuple[float, ...]:
    """One number, or a list of them."""
    if isinstance(value, list | tuple) and value:
        return tuple(a_number(item, where) for item in value)
    return (a_number(value, where),)


def some_values(value: Any, where: str) -> tuple[int, ...]:
    """Label values, 1 to 65535, each at most once."""
    values = tuple(an_integer(item, where) for item in a_list(value, where))
    if any(not 1 <= item <= 65535 for item in values) or len(set(values)) != len(values):
        raise Invalid(f"{where} holds label values from 1 to 65535, each at most once, not {repr_short(value)}")
    return values


def a_color(value: Any, where: str) -> str:
    """``#rrggbb``, lower case."""
    if not isinstance(value, str) or not re.fullmatch("#[0-9a-fA-F]{6}", value):
        raise Invalid(f"{where} must look like '#e6194b', not {repr_short(value)}")
    return value.lower()


def orientation_code(value: str) -> bool:
    """Whether `value` is a code such as LPI: one letter for each of the three body axes."""
    return len(value) == 3 and all(set(pair) & set(value) for pair in ("LR", "AP", "SI"))


def an_orientation(value: Any, where: str) -> str:
    """A code such as LPI, upper case."""
    if not isinstance(value, str) or not orientation_code(value.upper()):
        raise Invalid(f"{where} must be a code such as LPI, RAS or LPS, or null; not {repr_short(value)}")
    return value.upper()


def an_order_of_axes(value: Any, where: str) -> str:
    """The letters z, y and x in some order."""
    if not isinstance(value, str) or sorted(value) != ["x", "y", "z"]:
        raise Invalid(f"{where} must hold z, y and x once each, such as 'zyx', not {repr_short(value)}")
    return value


def one_of(*valid: str) -> Converter:
    """A converter that accepts only the values `valid`."""

    def convert(value: Any, where: str) -> str:
        if value not in valid:
            raise Invalid(f"{where} must be {' or '.join(valid)}, not {repr_short(value)}")
        return str(value)

    return convert


def optional(converter: Converter) -> Converter:
    """A converter that accepts null as well."""
    return lambda value, where: None if value is None else converter(value, where)


def repr_short(value: Any) -> str:
    """The repr of a value, shortened to 60 characters, for messages."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
