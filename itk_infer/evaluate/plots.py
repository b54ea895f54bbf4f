"""Plots as SVG text: box plots of a metric per label, and Bland-Altman plots of volumes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, ROW, LEFT, RIGHT, TOP = 760, 26, 200, 24, 12
MOST_ROWS = 150


@dataclass(frozen=True, slots=True)
class BoxRow:
    """One row of a box plot.

    Attributes:
        title: Title of the row.
        values: Values; finite ones are drawn.
        beyond: Number of infinite values, written beside the row.
    """

    title: str
    values: Sequence[float]
    beyond: int = 0


def box_plot(rows: Sequence[BoxRow], unit: str, top: float | None = None) -> str:
    """A box plot: first to third quartile with the median, whiskers to the extremes, a dot per case.

    Args:
        rows: Rows; at most `MOST_ROWS` are drawn.
        unit: Unit, written below the axis.
        top: Upper end of the axis; None: the largest value.
    """
    left_out = len(rows) - MOST_ROWS
    rows = rows[:MOST_ROWS]
    largest = top or max((max(row.values, default=0.0) for row in rows), default=0.0) or 1.0
    height = TOP + ROW * len(rows) + 44
    scale = (WIDTH - LEFT - RIGHT - 60) / largest
    parts = [open_svg(height, f"Box plot, {unit}")]
    for tick in ticks(0, largest):
        x = LEFT + tick * scale
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{height - 40}"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - 24}" text-anchor="middle">{tick:g}</text>')
    for index, row in enumerate(rows):
        y = TOP + ROW * index + ROW / 2
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(clipped(row.title))}</text>')
        if row.values:
            low, first, median, third, high = np.percentile(row.values, (0, 25, 50, 75, 100)) * scale + LEFT
            parts.append(f'<path class="whisker" d="M{low:.1f} {y}H{high:.1f}"/>')
            wide = max(third - first, 0.5)
            parts.append(f'<rect class="box" x="{first:.1f}" y="{y - 7}" width="{wide:.1f}" height="14"/>')
            dots = "".join(f"M{LEFT + value * scale:.1f} {y}h0" for value in row.values)
            parts.append(f'<path class="dots" d="{dots}"/>')
            parts.append(f'<path class="median" d="M{median:.1f} {y - 8}v16"/>')
        if row.beyond:
            parts.append(f'<text x="{WIDTH - 4}" y="{y + 4:.1f}" text-anchor="end">+ {row.beyond} inf</text>')
    more = f" ({left_out} more labels are in the table)" if left_out > 0 else ""
    parts.append(f'<text x="{LEFT}" y="{height - 6}">{escape(unit + more)}</text></svg>')
    return "".join(parts)


def bland_altman(truth: Sequence[float], mask: Sequence[float], title: str) -> str:
    """Difference of volumes, mask minus truth, over their mean, in ml (Bland and Altman, Lancet 1986).

    Lines show the mean difference, and 1.96 standard deviations above and below it.
    """
    ours, theirs = np.array(mask, float), np.array(truth, float)
    means, differences = (ours + theirs) / 2, ours - theirs
    bias = float(differences.mean())
    spread = 1.96 * float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    width, height, left, bottom = 370, 260, 62, 40
    low = min(float(differences.min()), bias - spread, 0.0)
    high = max(float(differences.max()), bias + spread, 0.0)
    low, high = (low, high) if high > low else (low - 1, high + 1)
    right = float(means.max()) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        down = (high - y) / (high - low) * (height - bottom - 34)
        return left + x / right * (width - left - 12), 26 + down

    parts = [open_svg(height, f"Bland-Altman plot, {title}", width)]
    parts.append(f'<text x="{left}" y="14" class="strong">{escape(clipped(title, 44))}</text>')
    for tick in ticks(low, high):
        y = place(0, tick)[1]
        parts.append(f'<path class="grid" d="M{left} {y:.1f}H{width - 12}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in ticks(0, right):
        x = place(tick, 0)[0]
        parts.append(f'<text x="{x:.1f}" y="{height - 24}" text-anchor="middle">{tick:g}</text>')
    for value, kind in ((bias, "median"), (bias - spread, "limit"), (bias + spread, "limit")):
        y = place(0, value)[1]
        parts.append(f'<path class="{kind}" d="M{left} {y:.1f}H{width - 12}"/>')
    points = (place(x, y) for x, y in zip(means.tolist(), differences.tolist(), strict=True))
    parts.append(f'<path class="dots" d="{"".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)}"/>')
    words = f"ml; mean difference {bias:.3g}, limits {bias - spread:.3g} to {bias + spread:.3g}"
    parts.append(f'<text x="{left}" y="{height - 6}">{words}</text></svg>')
    return "".join(parts)


def open_svg(height: float, title: str, width: int = WIDTH) -> str:
    """The opening tag of a plot, with its title."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:g}" width="{width}" '
        f'height="{height:g}" role="img" aria-label="{escape(title)}">'
    )


def ticks(low: float, high: float) -> list[float]:
    """About five round numbers from `low` to `high`."""
    raw = (high - low) / 5
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def clipped(text: str, most: int = 28) -> str:
    """The text, shortened if it is longer than `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
