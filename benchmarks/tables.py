"""Rows of figures as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

Rounds = dict[str, list[dict[str, Any]]]


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(str(cell) for cell in line)} |" for line in lines]


def median(rows: Sequence[dict[str, Any]], key: str) -> float:
    return statistics.median(row[key] for row in rows)


def spread(rows: Sequence[dict[str, Any]], key: str, digits: int = 1) -> str:
    """Median (smallest to largest)."""
    values = [row[key] for row in rows]
    middle = f"{statistics.median(values):,.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def ratio(found: Rounds, base: str, name: str, key: str = "seconds") -> float:
    """How many times smaller than the base's figure of the same round; the median of the rounds."""
    pairs = zip(found[base], found[name], strict=True)
    return statistics.median(there[key] / here[key] for there, here in pairs)


def share(value: float) -> str:
    """An agreement; never rounded up to 1."""
    return "1" if value == 1 else f"{int(value * 1e6) / 1e6:.6f}"
