"""Writes docs/performance-gpu.md from what bench.py measured.

python benchmarks/gpu/page.py results/bench.json docs/performance-gpu.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

GIB = 1024


def main() -> None:
    """Read the measurements, write the page."""
    source, target = map(Path, sys.argv[1:])
    target.write_text(page(json.loads(source.read_text())), "utf-8")


def page(found: dict[str, Any]) -> str:
    """The page, from the JSON object of bench.py."""
    machine, setting = found["machine"], found["setting"]
    size, patch = (" x ".join(map(str, setting[key])) for key in ("size", "patch"))
    parts = [
        "# Performance on a GPU",
        "",
        "<!-- written by benchmarks/gpu/page.py -->",
        "",
        f"Measured on one {machine['device']} with torch {machine['torch']}, cuDNN {machine.get('cudnn', '-')} "
        f"and MONAI {machine['monai']} on {machine.get('date', '-')}, by `benchmarks/gpu/bench.sh`.",
        "",
        f"One volume of {size} voxels (float32, in host memory) to a label map in host memory: "
        f"{setting['windows']} windows of {patch}, {setting['tflop']:,.0f} TFLOP, "
        "through nnU-Net's plain U-Net with random weights.",
        "",
        '* **itk_infer**: the Python API as a user calls it, number of windows per call found by `batch="auto"`; '
        "it also sums confidences and counts voxels, which the others do not.",
        "* **MONAI**: `sliding_window_inference` with everything on the GPU, at its best of 1, 2, 4 and 8 windows "
        "per call, then argmax there.",
        "* **bare network**: the network alone, on as many windows; nothing else can be faster with it.",
        "",
        "Agreement: share of voxels with the label of fp32 windows, blended by other code. Random weights leave "
        "many voxels nearly tied; trained networks agree more closely.",
        "",
        "## Seconds per case",
        "",
        *_cases(found["cases"]),
        "",
        *_profiles(found.get("profile", ())),
        *_variants(found.get("variants", {})),
        "## Measure again",
        "",
        "```",
        "bash benchmarks/gpu/pack.sh    # here: packages for a GPU machine without network, in one file",
        "bash benchmarks/gpu/check.sh   # there: the tests that need a GPU",
        "bash benchmarks/gpu/bench.sh   # there: the measurements of this page",
        "```",
    ]
    return "\n".join(parts) + "\n"


def _cases(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| classes | precision | itk_infer | MONAI | bare network | itk_infer / MONAI | itk_infer / bare | "
        "GPU memory, itk_infer | GPU memory, MONAI | agreement |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if "skipped" in row:
            continue
        ours, peer, bare = (row[name] for name in ("itk_infer", "monai", "bare"))
        peer_best = min(peer["all_seconds"]) if "all_seconds" in peer else None
        best, floor = min(ours["all_seconds"]), min(bare["all_seconds"])
        cells = [
            str(row["classes"]),
            row["precision"],
            f"{best:.2f} s",
            "failed" if peer_best is None else f"{peer_best:.2f} s",
            f"{floor:.2f} s",
            "-" if peer_best is None else f"{best / peer_best:.2f}",
            f"{best / floor:.2f}",
            f"{ours['peak_mib'] / GIB:.1f} GiB",
            "-" if peer_best is None else f"{peer['peak_mib'] / GIB:.1f} GiB",
            f"{ours['agreement']:.4f}" if "agreement" in ours else "-",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", "The faster of two rounds in turn, for every contender."]


def _profiles(rows: Any) -> list[str]:
    rows = [row for row in rows if "busy" in row]
    if not rows:
        return []
    lines = ["## Where the time goes", ""]
    for row in rows:
        lines.append(
            f"With {row['classes']} classes in fp16, the GPU is busy {row['busy']:.0%} of a case. Most of it:"
        )
        lines += ["", "| milliseconds | calls | kernel |", "|---|---|---|"]
        lines += [f"| {k['ms']:.0f} | {k['calls']} | `{_short(k['kernel'])}` |" for k in row["kernels"][:8]]
        lines.append("")
    return lines


def _variants(found: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for precision, rows in found.items():
        lines += [f"## The network alone, {precision}", "", "| variant | ms per window | seconds to prepare |"]
        lines.append("|---|---|---|")
        for name, row in rows.items():
            if "ms_per_window" in row:
                lines.append(f"| {name} | {row['ms_per_window']:.1f} | {row['seconds_to_prepare']:.1f} |")
            else:
                lines.append(f"| {name} | {next(iter(row.values()))} | |")
        lines.append("")
    return lines


def _short(kernel: str) -> str:
    """A kernel's name without its template arguments."""
    name = kernel.removeprefix("void ").partition("(")[0]
    for mark in ("CUDAFunctor_add", "leaky_relu", "addcmul", "direct_copy"):
        if mark in kernel:
            return f"{name.partition('<')[0].rpartition('::')[2]}, {mark}"
    return name.partition("<")[0][:90]


if __name__ == "__main__":
    main()
