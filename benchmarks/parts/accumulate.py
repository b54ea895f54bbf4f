"""What blending one window costs."""

from __future__ import annotations

import statistics
from typing import Any

from plots import Figure
from setting import Setting, rounds
from tables import table

REPEATS = 20
NAMES = {
    "nnunet": "nnU-Net's statements, half accumulators",
    "monai": "MONAI's statement",
    "addcmul": "torch `addcmul_`",
    "ours": "ours, `HostAccumulator.add`",
}


def measure(setting: Setting) -> dict[str, Any]:
    def run(name: str) -> dict[str, Any]:
        return setting.ask(setting.ours, "contenders.accumulate", REPEATS)

    return {"rounds": rounds(setting, 5, ["all"], run)["all"]}


def section(found: dict[str, Any]) -> list[str]:
    rows = []
    for name, printable in NAMES.items():
        times = [row["ms"][name] for row in found["rounds"]]
        ratios = [row["ms"][name] / row["ms"]["addcmul"] for row in found["rounds"]]
        rows.append((printable, f"{statistics.median(times):.1f}", f"{statistics.median(ratios):.2f}"))
    error = max(row["error"] for row in found["rounds"])
    return [
        "## Adding one window",
        "",
        "A window of 14 x 96 x 96 x 96 fp32 logits is weighted and added, on one thread; the smallest of "
        f"{REPEATS} times, the ways in turn. Ours makes the weights from three profiles within the time. "
        f"Ours and `addcmul_` differ by {error:.0e} of the largest value.",
        "",
        *table(("way", "ms", "times `addcmul_`"), rows),
        "",
        "`make bench ONLY=accumulate`",
    ]


def figures(found: dict[str, Any]) -> list[Figure]:
    return []
