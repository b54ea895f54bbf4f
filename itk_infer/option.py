"""What is declared of one option: for Python, for the command line, for the ledger and for the documentation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from itk_infer.errors import ConfigError
from itk_infer.option_values import Check


class OptionError(ConfigError):
    """An option has a value that it cannot have.

    Args:
        option: Name of the argument.
        value: What was given.
        remedy: What to give instead.
    """

    def __init__(self, option: str, value: Any, remedy: str) -> None:
        super().__init__(option, value, remedy)
        self.option, self.value, self.remedy = option, value, remedy

    def __str__(self) -> str:
        return f"{self.option} {self.value!r}: {self.remedy}"


@dataclass(frozen=True, slots=True)
class Shorthand:
    """A flag without a value that stands for one value of an option.

    Attributes:
        flag: Such as ``--fp16``.
        value: The value that it stands for.
        help: Sentence for ``--help``.
        doc: Sentence for the documentation; empty: as `help`.
        agrees: Values of the option itself that do not contradict it, and then hold.
    """

    flag: str
    value: Any
    help: str
    doc: str = ""
    agrees: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """All that is known of an option besides its name, type and default, which the dataclass field has.

    Attributes:
        flags: On the command line.
        heading: Of the group in ``--help``.
        help: Sentence for ``--help``.
        doc: Sentence for the documentation, in Markdown; empty: as `help`.
        values: Values that Python code gives, in Markdown, for the documentation.
        unset: What holds where the option is left out, if the default itself does not say so.
        check: Returns the value as it is kept, or raises ValueError with what to give instead.
        text: What the command line takes: a type, or the words to choose from. bool: a flag without a value.
        count: How many of these the flag takes.
        least: The least number that the flag takes, where `text` is int.
        metavar: Stands for the value in ``--help``.
        bare: Text that the flag stands for when it is given without a value; None: it needs a value.
        parse: From the text of the command line to the value, or ValueError with what to give instead;
            None: the text is the value.
        shorthands: Further flags for one value each.
        used_by: ``spec``: overrides the model's spec; ``backend``: goes to what runs the network;
            ``predictor``: used beside the network.
        result: Set where the option changes the result: completes "was made with ...".
        identity: From the value to what the ledger records of it; used where `result` is set.
        outputs: Names of the only outputs that it changes; empty: it changes the labels, and so all of them.
    """

    flags: tuple[str, ...]
    heading: str
    help: str
    used_by: tuple[str, ...]
    check: Check
    doc: str = ""
    values: str = ""
    unset: str = ""
    text: type | tuple[str, ...] = str
    count: int = 1
    least: int | None = None
    metavar: str | None = None
    bare: str | None = None
    parse: Callable[[str], Any] | None = None
    shorthands: tuple[Shorthand, ...] = ()
    result: str = ""
    identity: Callable[[Any], Any] = lambda value: value
    outputs: tuple[str, ...] = ()


def option(*flags: str, default: Any, **declared: Any) -> Any:
    """A dataclass field that is an option; keywords as of `Option`."""
    return field(default=default, metadata={"option": Option(flags=flags, **declared)})
