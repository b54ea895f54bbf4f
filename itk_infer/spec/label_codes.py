"""Codes of a label's meaning, for DICOM objects."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from itk_infer.spec.known_codes import categories, known_codes
from itk_infer.spec.values import Invalid, a_text, read_block, repr_short

SNOMED = "SCT"
FREE_TEXT = "99ITKINFER"  # coding scheme of free text; names of private schemes begin with 99 (PS3.16)
LONGEST_VALUE, LONGEST_MEANING = 16, 64
WRITTEN = re.compile(r"(?:SCT:)?(\d{6,18})")


@dataclass(frozen=True, slots=True)
class Code:
    """One coded concept.

    Attributes:
        value: Code value, at most 16 characters.
        scheme: Coding scheme, such as ``SCT``; ``99ITKINFER`` for free text.
        meaning: Code meaning, at most 64 characters.
    """

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class LabelCode:
    """The meaning of a label, as in a DICOM segment description.

    Attributes:
        type: The structure.
        category: Kind of structure.
        modifier: Part of the structure, such as anterior.
        side: Left, right, bilateral or unilateral.
    """

    type: Code
    category: Code
    modifier: Code | None = None
    side: Code | None = None

    @property
    def modifiers(self) -> tuple[Code, ...]:
        """Modifier and side, without those that are None."""
        return tuple(code for code in (self.modifier, self.side) if code is not None)

    @property
    def words(self) -> str:
        """The codes on one line, for messages."""
        kind = self.type.meaning
        if self.type.scheme != FREE_TEXT:
            kind += f" ({self.type.scheme} {self.type.value})"
        return ", ".join([kind, *(code.meaning for code in self.modifiers)])

    @property
    def note(self) -> str:
        """A sentence on the first code that the table does not have; empty if it has all."""
        for role, code in (("type", self.type), ("modifier", self.modifier)):
            if code is None or known_codes(role).get(code.value) == code.meaning:
                continue
            if code.scheme != FREE_TEXT:
                return f"its {role} {code.scheme} {code.value} is not in the table of codes, and was not checked"
            import difflib

            near = difflib.get_close_matches(code.meaning, known_codes(role).values(), n=1)
            hint = f"; the table has {near[0]!r}" if near else ""
            return f"its {role} {code.meaning!r} is no known code, and is written as free text{hint}"
        return ""


TISSUE = Code("85756007", SNOMED, "Tissue")
UNCODED = LabelCode(TISSUE, TISSUE)  # for a label without a code; codes are not guessed from names


def a_label_code(value: Any, where: str) -> LabelCode:
    """A type alone, or an object with ``type`` and, if wanted, ``category``, ``modifier`` and ``side``."""
    if isinstance(value, str) or (isinstance(value, dict) and "value" in value):
        value = {"type": value}
    keys = {role: _role(role) for role in ("type", "category", "modifier", "side")}
    codes = {role: code for role, code in read_block(value, where, keys).items() if code is not None}
    if "type" not in codes:
        raise Invalid(f"{where} needs a type")
    if "category" not in codes:
        category = categories().get(codes["type"].value, TISSUE.value)
        codes["category"] = Code(category, SNOMED, known_codes("category")[category])
    return LabelCode(**codes)


def _role(role: str) -> Any:
    return lambda value, where: None if value is None else _code(value, role, where)


def _code(value: Any, role: str, where: str) -> Code:
    table = known_codes(role)
    if isinstance(value, dict):
        given = read_block(value, where, {"value": a_text, "scheme": a_text, "meaning": a_text})
        return _full(given, table, where)
    text = a_text(value, where).strip()
    written = WRITTEN.fullmatch(text)
    if written:
        number = written[1]
        if number not in table:
            raise Invalid(
                f"{where}: {number} is not in the table of codes for this; give its words, too: "
                f'{{"value": "{number}", "meaning": "…"}}'
            )
        return Code(number, SNOMED, table[number])
    plain = _plain(text)
    found = next((code for code, meaning in table.items() if _plain(meaning) == plain), None)
    if found is not None:
        return Code(found, SNOMED, table[found])
    if not text or role in ("category", "side"):
        raise Invalid(f"{where} must be one of {', '.join(table.values())}, not {repr_short(value)}")
    if len(text) > LONGEST_MEANING or not text.isprintable():
        raise Invalid(f"{where}: free text is at most {LONGEST_MEANING} printable characters")
    return Code(f"T{hashlib.sha256(plain.encode()).hexdigest()[:12]}", FREE_TEXT, text)


def _full(given: dict[str, str], table: dict[str, str], where: str) -> Code:
    value, scheme = given.get("value", "").strip(), given.get("scheme", SNOMED).strip()
    meaning = given.get("meaning", table.get(value, "")).strip()
    for what, text, most in (("value", value, 16), ("scheme", scheme, 16), ("meaning", meaning, LONGEST_MEANING)):
        if not 0 < len(text) <= most or not text.isprintable() or "\\" in text:
            raise Invalid(f"{where} needs a {what} of 1 to {most} printable characters without a backslash")
    if scheme != SNOMED:
        return Code(value, scheme, meaning)
    if not (value.isascii() and value.isdigit() and is_snomed(value)):
        raise Invalid(f"{where}: {repr_short(value)} is no SNOMED CT code: its check digit does not fit")
    known = table.get(value)
    if known is not None and _plain(known) != _plain(meaning):
        raise Invalid(f"{where}: {value} means {known!r}, not {repr_short(meaning)}")
    return Code(value, scheme, known or meaning)


def is_snomed(value: str) -> bool:
    """Whether the last of a number's digits is its check digit (Verhoeff, Error Detecting Decimal Codes, 1969)."""
    check = 0
    for place, digit in enumerate(reversed(value)):
        number = int(digit)
        for _ in range(place % 8):
            number = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)[number]
        check = _dihedral(check, number)
    return check == 0


def _dihedral(a: int, b: int) -> int:
    """The product of two elements of the dihedral group of order 10; 5 to 9 are the reflections."""
    turn = (a % 5 + (b % 5 if a < 5 else -(b % 5))) % 5
    return turn + 5 * ((a >= 5) != (b >= 5))


def _plain(text: str) -> str:
    return "".join(text.split()).casefold()
