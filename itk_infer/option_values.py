"""Checks of option values, and how some are read from the command line.

A check returns the value as it is kept; it and a parser raise ValueError with what to give instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Check = Callable[[Any], Any]
UNITS = "_KMGT"  # powers of 1024


def one_of(*choices: str) -> Check:
    """One of these words."""

    def check(value: Any) -> Any:
        if value not in choices:
            raise ValueError(f"give {', '.join(choices[:-1])} or {choices[-1]}")
        return value

    return check


def or_none(check: Check) -> Check:
    """None, or what `check` takes."""
    return lambda value: None if value is None else check(value)


def true_or_false(value: Any) -> bool:
    """A truth value."""
    if not isinstance(value, bool):
        raise ValueError("give True or False")
    return value


def a_number(value: Any) -> float:
    """A finite number."""
    from itk_infer.spec.values import is_number  # `--help` needs no spec, and its modules take time

    if not is_number(value):
        raise ValueError("give a number")
    number: float = value
    return number


def a_share(value: Any) -> float:
    """A number above 0, at most 1."""
    if not 0 < a_number(value) <= 1:
        raise ValueError("give a number above 0, at most 1")
    return float(value)


def count_of(what: str) -> Check:
    """A whole number of at least 1."""

    def check(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"give a whole number of {what}, at least 1")
        return value

    return check


def from_0_to(most: int, *, but: int | None = None) -> Check:
    """A whole number from 0, which is off, to `most`, without `but`."""

    def check(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most or value == but:
            least = 1 if but is None else but + 1
            raise ValueError(f"give a whole number from {least} to {most}, or 0 for none")
        return value

    return check


def a_seed(value: Any) -> Any:
    """A whole number from 0 to 99,999,999."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**8:
        raise ValueError("give a whole number from 0 to 99999999")
    return value


def from_1_to_99999(value: Any) -> Any:
    """A whole number of at most five digits."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 99_999:
        raise ValueError("give a whole number from 1 to 99999")
    return value


def dots_per_inch(value: Any) -> Any:
    """A whole number that a picture can have in either direction."""
    if isinstance(value, bool) or not isinstance(value, int) or not 50 <= value <= 600:
        raise ValueError("give a whole number from 50 to 600")
    return value


def number_of_bytes(value: Any) -> Any:
    """A number of bytes."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ValueError("give a number of bytes")
    return value


def three_sizes(value: Any) -> tuple[int, int, int]:
    """Three whole numbers of at least 1, as a tuple."""
    sizes = tuple(value) if isinstance(value, list | tuple) else ()
    if len(sizes) != 3 or not all(isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in sizes):
        raise ValueError("give three whole numbers of at least 1, along Z, Y and X")
    return sizes


def fold_names(value: Any) -> tuple[str, ...]:
    """Names of folds, numbers or ``all``, given as one or as several: as texts, each once, numbers first."""
    names = set()
    for item in value if isinstance(value, list | tuple) else (value,):
        text = str(item)
        if isinstance(item, bool) or not (text == "all" or text.isdecimal()):
            raise ValueError("give numbers of folds such as 0,2, or all")
        names.add(text if text == "all" else str(int(text)))
    if not names:
        raise ValueError("give numbers of folds such as 0,2, or all")
    return tuple(sorted(names, key=lambda name: (name == "all", name.rjust(9))))


def parse_folds(text: str) -> tuple[str, ...]:
    """``0``, ``0,2``, ``0 2`` or ``all``."""
    return fold_names(text.replace(",", " ").split())


def some_weights(value: Any) -> tuple[float, ...]:
    """One or several numbers above 0."""
    given = value if isinstance(value, list | tuple) else (value,)
    if not given or any(isinstance(item, bool) or not isinstance(item, int | float) for item in given):
        raise ValueError("give one number per model, such as 2,1,1")
    if not all(0 < item < float("inf") for item in given):
        raise ValueError("give numbers above 0; leave out a model that is not to count")
    return tuple(float(item) for item in given)


def parse_weights(text: str) -> tuple[float, ...]:
    """``2,1,1`` or ``2 1 1``."""
    try:
        return some_weights([float(word) for word in text.replace(",", " ").split()])
    except ValueError:
        raise ValueError("give one number above 0 per model, such as 2,1,1") from None


def a_path(value: Any) -> Path:
    """A path, also as text."""
    if not isinstance(value, str | Path):
        raise ValueError("give a path")
    return Path(value)


def parse_bytes(text: str) -> int:
    """``12G``, ``800M`` or a number of bytes."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError("give a size such as 12G or 800M")
    return int(float(match[1]) * 1024 ** UNITS.index(match[2].upper() or "_"))


def orientation_or_input(value: Any) -> str:
    """A code of an orientation, upper case, or ``input``."""
    from itk_infer.spec.values import orientation_code  # `--help` needs no spec, and its modules take time

    code = value if value == "input" else str(value).upper()
    if code != "input" and not orientation_code(code):
        raise ValueError("give 'input', or a code such as LPI, RAS or LPS")
    return str(code)


def device_name(value: Any) -> str:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    if not isinstance(value, str) or not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise ValueError("give auto, cpu, cuda or cuda:N")
    return value


def batch_size(value: Any) -> Any:
    """A whole number of at least 1, or ``auto``."""
    if value != "auto" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError("at least one window per call, or 'auto'")
    return value


def parse_batch(text: str) -> Any:
    """``auto`` or a number."""
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise ValueError("give a whole number of at least 1, or auto")
    return int(text)


def folder_or_switch(value: Any) -> bool | Path:
    """True, False, or a folder, also as text."""
    if not isinstance(value, bool | str | Path):
        raise ValueError("give True, False or a folder")
    return value if isinstance(value, bool) else Path(value)


def switch_or_number(value: Any) -> bool | float:
    """True, False or a number."""
    try:
        return value if isinstance(value, bool) else a_number(value)
    except ValueError:
        raise ValueError("give True, False or a number") from None


def parse_skip_empty(text: str) -> bool | float:
    """``constant`` or a number."""
    try:
        return text == "constant" or float(text)
    except ValueError:
        raise ValueError("give a number, or nothing") from None
