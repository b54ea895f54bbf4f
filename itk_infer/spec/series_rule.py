"""Rules that pick the DICOM series of a model's input channel, as data; `input.series` of a model spec."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from itk_infer.errors import SpecError
from itk_infer.spec.dicom_keywords import KEYWORDS, PLANES, VIRTUAL, tag_of
from itk_infer.spec.values import Converter, Invalid, a_list, a_number, a_text, one_of, read_block, repr_short

PREFERENCES = ("thinnest", "most_slices")
PARTS = ("all", "any", "instances", "prefer", "values")


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on one attribute; every part that is given must hold.

    Attributes:
        keyword: The attribute: a DICOM keyword, a tag such as ``0018,0086``, or one of `VIRTUAL`.
        pattern: Regular expression, searched for in the value without regard to case.
        number: Number that one of the values must equal.
        has: Texts that must be among the values, without regard to case.
        has_not: Texts that must not be among the values.
        least: No value may be smaller.
        most: No value may be larger.
    """

    keyword: str
    pattern: str | None = None
    number: float | None = None
    has: tuple[str, ...] = ()
    has_not: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None

    def holds(self, values: Sequence[str]) -> bool:
        """Whether it holds for these values of the attribute; no values: the attribute is absent."""
        folded = [value.casefold() for value in values]
        numbers = [number for number in map(_number, values) if number is not None]
        return (
            (self.pattern is None or bool(re.search(self.pattern, "\\".join(values), re.IGNORECASE)))
            and (self.number is None or self.number in numbers)
            and all(value.casefold() in folded for value in self.has)
            and not any(value.casefold() in folded for value in self.has_not)
            and (self.least is None or (bool(numbers) and min(numbers) >= self.least))
            and (self.most is None or (bool(numbers) and max(numbers) <= self.most))
        )

    @property
    def words(self) -> str:
        """The condition, for a message."""
        parts = [
            f"matches '{self.pattern}'" if self.pattern is not None else "",
            f"is {self.number:g}" if self.number is not None else "",
            *(f"has {value}" for value in self.has),
            *(f"has no {value}" for value in self.has_not),
            f"is at least {self.least:g}" if self.least is not None else "",
            f"is at most {self.most:g}" if self.most is not None else "",
        ]
        return f"{self.keyword} {' and '.join(filter(None, parts))}"

    def document(self) -> dict[str, Any]:
        """The condition as JSON that `parse_rules` reads."""
        if self.pattern is not None:
            return {self.keyword: self.pattern}
        if self.number is not None:
            return {self.keyword: self.number}
        given: dict[str, Any] = {"has": list(self.has), "has_not": list(self.has_not)}
        given |= {"min": self.least, "max": self.most}
        return {self.keyword: {key: value for key, value in given.items() if value not in ([], None)}}


@dataclass(frozen=True, slots=True)
class SeriesRule:
    """The choice of a series in a study; exactly one must be left after `prefer` was applied.

    Attributes:
        all: Conditions that must all hold.
        any: Conditions of which at least one must hold; empty: no such condition.
        instances: Conditions on the slices of the series; slices that do not meet them are skipped.
        prefer: Preferences among several matching series, from `PREFERENCES`, in this order.
        values: ``stored``, in the units of the series, or ``SUVbw``, of PET.
    """

    all: tuple[Condition, ...] = ()
    any: tuple[Condition, ...] = ()
    instances: tuple[Condition, ...] = ()
    prefer: tuple[str, ...] = ()
    values: str = "stored"

    def document(self) -> dict[str, Any]:
        """The rule as JSON that `parse_rules` reads."""
        conditions = {part: [item.document() for item in getattr(self, part)] for part in ("all", "any")}
        instances = {key: value for item in self.instances for key, value in item.document().items()}
        values = {"values": self.values} if self.values != "stored" else {}
        about = {"instances": instances} if instances else {}
        return {**conditions, **about, "prefer": list(self.prefer), **values}


def some_rules(value: Any, where: str) -> tuple[SeriesRule, ...]:
    """A rule, or a list of rules, one per input channel. A rule without the keys of `PARTS` is one of ``all``.

    Raises:
        Invalid: a key or value is unknown.
    """
    if isinstance(value, list | tuple):
        return tuple(_rule(item, f"{where}[{index}]") for index, item in enumerate(value))
    return (_rule(value, where),)


def parse_rules(document: Any, source: str) -> tuple[SeriesRule, ...]:
    """The rules of a document: one, a list of them, or either under the key ``series``.

    Raises:
        SpecError: naming `source` and the key.
    """
    is_wrapped = isinstance(document, Mapping) and set(document) == {"series"}
    try:
        return some_rules(document["series"] if is_wrapped else document, "series")
    except Invalid as error:
        raise SpecError(f"{source}: {error}") from None


def _rule(value: Any, where: str) -> SeriesRule:
    if not isinstance(value, Mapping):
        raise Invalid(f"{where} must be an object with conditions, not {repr_short(value)}")
    if not set(value) & set(PARTS):
        return SeriesRule(all=_conditions(value, where))
    keys: dict[str, Converter] = {
        "all": _condition_list,
        "any": _condition_list,
        "instances": _conditions,
        "prefer": _preferences,
        "values": one_of("stored", "SUVbw"),
    }
    return SeriesRule(**read_block(value, where, keys))


def _condition_list(value: Any, where: str) -> tuple[Condition, ...]:
    items = enumerate(a_list(value, where))
    return tuple(condition for index, item in items for condition in _conditions(item, f"{where}[{index}]"))


def _conditions(value: Any, where: str) -> tuple[Condition, ...]:
    if not isinstance(value, Mapping) or not value:
        raise Invalid(f'{where} must be an object such as {{"Modality": "^MR$"}}, not {repr_short(value)}')
    known = {key: _condition for key in value if tag_of(str(key)) is not None}
    return tuple(
        build(str(key))
        for key, build in read_block(
            value, where, {**dict.fromkeys((*KEYWORDS, *VIRTUAL), _condition), **known}
        ).items()
    )


def _condition(value: Any, where: str) -> Any:
    """A function that builds the condition for a keyword."""
    keyword = where.rpartition(".")[2]
    if keyword == "plane":
        value = f"^{one_of(*PLANES)(value, where)}$"
    if isinstance(value, bool):
        value = f"^{'yes' if value else 'no'}$"
    if isinstance(value, str):
        try:
            re.compile(value)
        except re.error as error:
            raise Invalid(f"{where} is not a regular expression: {error}") from None
        return lambda name: Condition(name, pattern=value)
    if isinstance(value, Mapping):
        keys = {"has": _texts, "has_not": _texts, "min": a_number, "max": a_number}
        given = read_block(value, where, keys)
        if not given:
            raise Invalid(f"{where} holds no condition; give one of {', '.join(keys)}")
        return lambda name: Condition(
            name,
            has=given.get("has", ()),
            has_not=given.get("has_not", ()),
            least=given.get("min"),
            most=given.get("max"),
        )
    number = a_number(value, where)
    return lambda name: Condition(name, number=number)


def _texts(value: Any, where: str) -> tuple[str, ...]:
    return tuple(a_text(item, where) for item in (value if isinstance(value, list | tuple) else [value]))


def _preferences(value: Any, where: str) -> tuple[str, ...]:
    return tuple(one_of(*PREFERENCES)(item, where) for item in a_list(value, where))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
