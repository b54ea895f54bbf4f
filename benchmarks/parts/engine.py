"""S1: the window engine alone, and how near it comes to what the processor can do."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from plots import Figure
from setting import HERE, Setting, rounds
from tables import median, ratio, share, spread, table

CLASSES = 14
NAMES = {
    "nnunet": "nnU-Net",
    "monai": "MONAI",
    "monai-equal": "MONAI, nnU-Net's weights",
    "ours-onnxruntime": "ours, onnxruntime fp32",
    "ours-openvino": "ours, OpenVINO fp32",
    "ours-openvino-bf16": "ours, OpenVINO bf16",
}
REDUCED = "ours-openvino-bf16"


def measure(setting: Setting) -> dict[str, Any]:
    folder = setting.scratch / f"engine{CLASSES}"
    if not (folder / "reference_monai.npy").exists():
        command = [setting.peers, "-m", "contenders.workload", str(folder), str(CLASSES)]
        subprocess.run(command, check=True, cwd=HERE, env=setting.environment)
    flags = Path("/proc/cpuinfo").read_text()
    contenders = [name for name in NAMES if name != REDUCED or "avx512_bf16" in flags or "amx_bf16" in flags]

    def run(name: str) -> dict[str, Any]:
        python = setting.ours if name.startswith("ours") else setting.peers
        return setting.ask(python, "contenders.engine", folder, CLASSES, name, setting.threads)

    return {"rounds": rounds(setting, 3, contenders, run)}


def section(found: dict[str, Any]) -> list[str]:
    result = found["rounds"]
    rows = [
        (
            NAMES[name],
            spread(seen, "seconds"),
            f"{ratio(result, 'nnunet', name):.2f}",
            f"{median(seen, 'peak_mib'):,.0f}",
            share(min(row["agreement"] for row in seen)),
            f"{seen[0]['largest_error']:.1e}" if seen[0].get("largest_error") else "",
        )
        for name, seen in result.items()
    ]
    lines = [
        "## Window engine",
        "",
        f"A PlainConvUNet of 32 to 320 channels, {CLASSES} classes, random weights, 100 windows of 64 x 64 x 64 "
        "over 160 x 192 x 192 voxels, no mirroring. All tools place the same windows, but weigh them differently: "
        "nnU-Net's Gaussian is half a voxel off the centre, MONAI's ends in a floor. MONAI is shown with "
        "nnU-Net's, too. Peers return logits; ours goes on to labels, counts and confidence within the time. The "
        "reference is fp32 windows blended in float64, with the weights that the contender means to use. With "
        "random weights most voxels are near ties, so reduced precision looks worse here than on trained "
        "networks, which are [below](#labels-in-every-precision).",
        "",
        *table(
            ("contender", "seconds", "times nnU-Net's speed", "peak MiB", "agreement", "largest logit error"), rows
        ),
        "",
        "### How near to the limit",
        "",
    ]
    ours = {name: seen for name, seen in result.items() if name.startswith("ours")}
    gflop = next(iter(ours.values()))[0]["window_gflop"]
    lines += [
        f"Convolutions of one window take {gflop:,.1f} GFLOP (two a multiply-add). The peak is the best rate, in "
        "the same runtime, process and threads, of 3 x 3 x 3 convolutions of 32 to 32 channels over 64 x 64 x 64 "
        "voxels, one or six in a row. The network also normalises and activates, which costs time and counts no "
        "FLOP. *Engine* is everything: gathering, blending, deciding. *Overhead* is engine time outside the "
        "network, as a share of the time inside it, and for a window.",
        "",
        *table(
            (
                "contender",
                "peak GFLOP/s",
                "network alone",
                "of peak",
                "engine",
                "of peak",
                "overhead",
                "ms a window",
            ),
            [_limit(NAMES[name], seen) for name, seen in ours.items()],
        ),
        "",
        "`make bench ONLY=engine`",
    ]
    return lines


def _limit(name: str, seen: list[dict[str, Any]]) -> tuple[object, ...]:
    rows = []
    for row in seen:
        work = row["window_gflop"] * row["windows"]
        outside = row["seconds"] - row["network_seconds"]
        rows.append(
            {
                "peak": row["peak_gflops"],
                "bare": work / row["bare_seconds"],
                "bare_share": work / row["bare_seconds"] / row["peak_gflops"],
                "whole": work / row["seconds"],
                "whole_share": work / row["seconds"] / row["peak_gflops"],
                "overhead": outside / row["network_seconds"],
                "window": outside / row["windows"] * 1e3,
            }
        )
    return (
        name,
        f"{median(rows, 'peak'):,.0f}",
        f"{median(rows, 'bare'):,.0f}",
        f"{median(rows, 'bare_share'):.0%}",
        f"{median(rows, 'whole'):,.0f}",
        f"{median(rows, 'whole_share'):.0%}",
        f"{median(rows, 'overhead'):.1%}",
        f"{median(rows, 'window'):.1f}",
    )


def figures(found: dict[str, Any]) -> list[Figure]:
    bars = {NAMES[name]: median(seen, "seconds") for name, seen in found["rounds"].items()}
    return [Figure("engine", "Window engine, 100 windows, 14 classes", "seconds", bars=bars)]
