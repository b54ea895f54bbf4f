"""The legend of a picture: colours and text, broken into lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from itk_infer.outputs.drawing.planes import TEXT
from itk_infer.outputs.drawing.words import fitting, font

SIZE, SWATCH, SPACE = 14, 18, 22  # height of letters, space before and after them, in pixels at 100 dots per inch
Item = tuple[str, tuple[int, int, int] | None]  # words, and a colour before them


def in_lines(items: Sequence[Item], room: int, zoom: float) -> list[list[Item]]:
    """Break items into lines of at most `room` pixels.

    Args:
        items: The items, in order.
        room: Pixels of a line.
        zoom: 1 for a picture of 100 dots per inch.
    """
    lines: list[list[Item]] = [[]]
    letters, around, left = round(SIZE * zoom), (SWATCH + SPACE) * zoom, 0.0
    for text, colour in items:
        text = fitting(text, letters, room - around)
        needed = font(letters).getlength(text) + around
        if lines[-1] and left + needed > room:
            lines.append([])
            left = 0.0
        lines[-1].append((text, colour))
        left += needed
    return lines


def draw_lines(pen: Any, lines: Sequence[Sequence[Item]], place: tuple[int, int], zoom: float, line: int) -> int:
    """Draw lines of items, each `line` pixels high, from a position on; returns the lower edge."""
    start, top = place
    words = font(round(SIZE * zoom))
    for items in lines:
        left = start
        for text, colour in items:
            if colour is not None:
                pen.rectangle((left, top + 4 * zoom, left + 11 * zoom, top + 15 * zoom), fill=colour)
                left += round(SWATCH * zoom)
            pen.text((left, top), text, TEXT, font=words)
            left += round(pen.textlength(text, font=words) + SPACE * zoom)
        top += line
    return top
