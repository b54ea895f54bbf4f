"""Plots of curves in the unit square, as SVG text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from itk_infer.evaluate.classified.scores import GRID, Band, Bin
from itk_infer.evaluate.plots import clipped, open_svg

SIDE, LEFT, TOP, BOTTOM = 250, 46, 26, 44


def curve_plot(band: Band, title: str, axes: tuple[str, str], *, diagonal: bool = False) -> str:
    """Plot a curve with its confidence band.

    Args:
        band: The curve on `GRID`.
        title: Title above the plot.
        axes: Names of the horizontal and the vertical axis.
        diagonal: Whether to draw the line of a random classifier.
    """
    parts = _frame(title, axes, diagonal)
    if band.low is not None and band.high is not None:
        there = [*zip(GRID, band.high, strict=True)]
        back = [*zip(GRID[::-1], band.low[::-1], strict=True)]
        parts.append(f'<path class="band" d="M{_path([*there, *back])}Z"/>')
    parts.append(f'<path class="curve" d="M{_path([*zip(GRID, band.value, strict=True)])}"/></svg>')
    return "".join(parts)


def calibration_plot(bins: Sequence[Bin], title: str) -> str:
    """Observed share over predicted probability, with intervals; the diagonal is perfect calibration."""
    parts = _frame(title, ("predicted probability", "observed share"), True)
    parts += [
        f'<path class="whisker" d="M{_path([(one.predicted, one.low), (one.predicted, one.high)])}"/>'
        for one in bins
    ]
    dots = "".join(f"M{_path([(one.predicted, one.observed)])}h0" for one in bins)
    return "".join([*parts, f'<path class="dots" d="{dots}"/></svg>'])


def _frame(title: str, axes: tuple[str, str], diagonal: bool) -> list[str]:
    width, height = LEFT + SIDE + 14, TOP + SIDE + BOTTOM
    parts = [open_svg(height, f"{title}: {axes[1]} over {axes[0]}", width)]
    parts.append(f'<text x="{LEFT}" y="14" class="strong">{escape(clipped(title, 34))}</text>')
    for step in range(6):
        tick = step / 5
        x, y = _place(tick, tick)
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{TOP + SIDE}M{LEFT} {y:.1f}H{LEFT + SIDE}"/>')
        parts.append(f'<text x="{x:.1f}" y="{TOP + SIDE + 16}" text-anchor="middle">{tick:g}</text>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    if diagonal:
        parts.append(f'<path class="limit" d="M{_path([(0, 0), (1, 1)])}"/>')
    words = f"{axes[1]} over {axes[0]}"
    parts.append(f'<text x="{LEFT}" y="{height - 8}">{escape(words)}</text>')
    return parts


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "L".join(f"{x:.1f} {y:.1f}" for x, y in (_place(*point) for point in points))


def _place(x: float, y: float) -> tuple[float, float]:
    return LEFT + x * SIDE, TOP + (1 - y) * SIDE
