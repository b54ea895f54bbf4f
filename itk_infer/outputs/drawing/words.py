"""Text in pictures, in Pillow's default font."""

from __future__ import annotations

import unicodedata
from typing import Any

from itk_infer.spec import Label
from itk_infer.volume.names import printable

SPELT = str.maketrans({"ß": "ss", "æ": "ae", "Æ": "Ae", "ø": "o", "Ø": "O", "œ": "oe", "ł": "l", "–": "-"})


def drawable(text: str) -> str:
    """Convert a text to ASCII, the characters of Pillow's default font.

    Accents are removed; letters of other scripts become question marks.
    """
    plain = unicodedata.normalize("NFKD", printable(text).translate(SPELT))
    return "".join(c if c.isascii() else "?" for c in plain if not unicodedata.combining(c))


def named(label: Label) -> str:
    """The name of a label, with its value if the name cannot be drawn in full."""
    name = drawable(label.name)
    return name if "?" not in name or "?" in label.name else f"{name} (label {label.value})"


def font(size: int) -> Any:
    """Pillow's default font."""
    from PIL import ImageFont

    return ImageFont.load_default(size)


def fitting(words: str, size: int, width: float) -> str:
    """Shorten a text to at most `width` pixels, with dots at the end."""
    if font(size).getlength(words) <= width:
        return words
    while words and font(size).getlength(f"{words}...") > width:
        words = words[: -max(1, len(words) // 16)]
    return f"{words}..."


def wrapped(words: str, size: int, width: float) -> list[str]:
    """Break a text into lines of at most `width` pixels."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font(size).getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return [fitting(line, size, width) for line in lines]
