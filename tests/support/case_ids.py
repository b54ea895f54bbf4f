"""The id of a parametrised case: the same text in every process, at any time; what has none is given one in writing."""

from __future__ import annotations

import enum
import re
import types

LONGEST = 100  # characters; a longer text is no name


def case_id(value: object) -> str | None:
    """The text of a value; None leaves it to pytest, which has one for plain values, classes and functions.

    Raises:
        TypeError: the value has no text, or one that hangs on the clock, on an address or on the order of hashes.
    """
    if isinstance(value, str) and len(value) > LONGEST:
        raise TypeError(f"{len(value)} characters are no id; write one: pytest.param(…, id='…')")
    if value is None or isinstance(value, str | int | float | complex | enum.Enum | re.Pattern):
        return None
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType) and value.__name__ != "<lambda>":
        return None
    text = _text(value).encode("unicode_escape").decode("ascii")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _text(value: object) -> str:
    """Of a value, or of values in a container that keeps an order."""
    if isinstance(value, str | int | float | complex | None):
        return str(value)
    if isinstance(value, BaseException):
        return type(value).__name__
    if isinstance(value, dict):
        return ",".join(f"{_text(key)}={_text(item)}" for key, item in value.items()) or "empty"
    if isinstance(value, tuple | list):
        numbers = all(isinstance(item, int | float) for item in value)
        return ("x" if numbers else " ").join(map(_text, value)) or "empty"
    raise TypeError(f"a {type(value).__name__} has no text; write an id: pytest.param(…, id='…')")
