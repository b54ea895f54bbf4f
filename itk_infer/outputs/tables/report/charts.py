"""Small charts as inline SVG."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from html import escape

BINS = 24
WIDTH, HEIGHT = 192, 44
STAGE_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999")  # Okabe and Ito


def histogram(values: Sequence[float], colour: str, title: str) -> str:
    """Draw a histogram of volumes, with a line at the median.

    Args:
        values: Volumes, at least one, finite.
        colour: ``#rrggbb``.
        title: Text for screen readers; escaped here.
    """
    low, high = min(values), max(values)
    counts = [0] * BINS
    for value in values:
        share = (value - low) / (high - low) if high > low else 0.5
        counts[min(int(share * BINS), BINS - 1)] += 1
    step, most = WIDTH / BINS, max(counts)
    bars = "".join(
        f"M{index * step:.1f} {HEIGHT}v-{max(count / most * HEIGHT, 1):.1f}h{step - 1:.1f}V{HEIGHT}z"
        for index, count in enumerate(counts)
        if count
    )
    median = statistics.median(values)
    at = (median - low) / (high - low) * WIDTH if high > low else WIDTH / 2
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">'
        f"<title>{escape(title)}</title>"
        f'<path d="{bars}" fill="{escape(colour)}"/>'
        f'<path d="M{at:.1f} 0V{HEIGHT}" stroke="currentColor" stroke-width="1.5"/></svg>'
    )


def stacked_bar(seconds: Mapping[str, float]) -> str:
    """Draw one bar, divided by stage, and its legend.

    Args:
        seconds: Mean time per case, by stage.
    """
    total, left, parts, legend = sum(seconds.values()), 0.0, [], []
    if total <= 0:
        return ""
    for index, (stage, value) in enumerate(seconds.items()):
        colour = STAGE_COLOURS[index % len(STAGE_COLOURS)]
        width = value / total * 100
        parts.append(f'<rect x="{left:.2f}" width="{width:.2f}" height="10" fill="{colour}"/>')
        swatch = f'<svg class="swatch" viewBox="0 0 1 1"><rect width="1" height="1" fill="{colour}"/></svg>'
        legend.append(f"<li>{swatch}{escape(stage)} {value:.2f} s</li>")
        left += width
    bar = f'<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" role="img">{"".join(parts)}</svg>'
    return f'{bar}<ul class="legend">{"".join(legend)}</ul>'
