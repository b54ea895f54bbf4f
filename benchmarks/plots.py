"""Plots of the page, as small SVG files; run in an environment with matplotlib.

    python benchmarks/plots.py < figures.json

Reads a list of figures, each with the path of its file.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

OURS, PEER = "#00796b", "#9aa5b1"


@dataclass(frozen=True, slots=True)
class Figure:
    """What to draw.

    Attributes:
        name: Of the file, without its ending.
        title: Above it, in words.
        unit: Of the values.
        bars: Values by contender, for bars; several groups side by side.
        lines: Points (x, value) by contender, for lines.
        across: What x is.
    """

    name: str
    title: str
    unit: str
    bars: dict[str, float] | None = None
    lines: dict[str, list[tuple[float, float]]] | None = None
    across: str = ""


def draw(figure: dict[str, Any], path: str) -> None:
    import matplotlib

    matplotlib.use("svg")
    # The same figures give the same file; text stays text.
    matplotlib.rcParams.update({"svg.hashsalt": "itk_infer", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    bars, lines = figure["bars"], figure["lines"]
    height = 0.9 + 0.28 * len(bars) if bars else 3.0
    canvas, axes = pyplot.subplots(figsize=(6.4, height), layout="constrained")
    if bars:
        names = list(bars)[::-1]
        values = [bars[name] for name in names]
        shown = axes.barh(names, values, color=[colour(name) for name in names], height=0.7)
        axes.bar_label(shown, [f"{value:,.3g}" if value < 100 else f"{value:,.0f}" for value in values], padding=3)
        axes.set_xlim(0, max(values) * 1.15)
        axes.set_xlabel(figure["unit"])
    else:
        for name, points in lines.items():
            xs, ys = zip(*points, strict=True)
            axes.plot(xs, ys, marker="o", markersize=4, label=name, color=colour(name) if "ours" in name else None)
        axes.set_xlabel(figure["across"])
        axes.set_ylabel(figure["unit"])
        axes.set_ylim(0)
        axes.legend(frameon=False)
    axes.set_title(figure["title"], fontsize=9, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    canvas.savefig(path, metadata={"Date": None, "Creator": None})
    pyplot.close(canvas)


def colour(name: str) -> str:
    return OURS if name.startswith("ours") else PEER


if __name__ == "__main__":
    for item in json.load(sys.stdin):
        draw(item["figure"], item["path"])
