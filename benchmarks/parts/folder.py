"""S3: a folder from start to end, by the real commands."""

from __future__ import annotations

import re
import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from folders import NAMES, printable, segment
from plots import Figure
from setting import Setting, rounds
from tables import median, ratio, share, spread, table


def measure(setting: Setting) -> dict[str, Any]:
    ct = setting.data_file("ct")
    if ct is None:
        return {"skipped": "The folder benchmark needs `ct/example_ct.nii.gz` in the folder given as `DATA`."}
    work = setting.scratch / "folder"
    if not (work / "reference_nnunet.npy").exists():
        setting.ask(setting.peers, "contenders.folder_workload", work, ct, "fine")
    expected = {kind: np.load(work / f"reference_{kind}.npy") for kind in ("exact", "nnunet")}

    def run(name: str) -> dict[str, Any]:
        found, labels = segment(setting, name, work)
        return {
            **found,
            "agreement": float(np.mean(labels == expected["nnunet" if name == "nnunet" else "exact"])),
        }

    found = {
        "rounds": rounds(setting, 3, list(NAMES), run),
        "commands": {name: printable(setting, name, work) for name in NAMES},
        "foreground": float(np.mean(expected["exact"] > 0)),
    }
    return {**found, "itkit": itkit(setting, work)}


def itkit(setting: Setting, work: Path) -> dict[str, Any]:
    """What itkit's own command does here, once."""
    if setting.itkit is None:
        return {"absent": "itkit was not installed for this run."}
    out = setting.scratch / "out" / "itkit"
    shutil.rmtree(out, ignore_errors=True)
    script = Path(setting.itkit).with_name("itk_infer")
    words = ["-i", work / "images", "-o", out, "--backend", "onnx", "--onnx", work / "fixed.onnx"]
    ended = setting.watch(setting.itkit, script, *words)
    lines = [line.strip() for line in ended.text.splitlines() if re.match(r"\w*(Error|Exception)\b", line)]
    return {
        "code": ended.code,
        "seconds": ended.seconds,
        "written": len(list(out.glob("*.nii.gz"))),
        "error": lines[0] if lines else "",
    }


def section(found: dict[str, Any]) -> list[str]:
    result = found["rounds"]
    rows = [
        (
            NAMES[name],
            spread(seen, "seconds"),
            f"{ratio(result, 'nnunet', name):.2f}",
            f"{median(seen, 'first_window'):.1f}" if seen[0]["first_window"] else "not told",
            f"{median(seen, 'peak_mib'):,.0f}",
            f"{1 / ratio(result, 'nnunet', name, 'peak_mib'):.2f}",
            share(min(row["agreement"] for row in seen)),
            "same" if all(row["geometry"] for row in seen) else "differs",
        )
        for name, seen in result.items()
    ]
    head = ("contender", "seconds", "times nnU-Net's speed", "first window after", "peak MiB", "of nnU-Net's")
    lines = [
        "## A folder from start to end",
        "",
        "One CT of 320 x 384 x 384 voxels in a folder, 14 classes, the PlainConvUNet of the window engine on a "
        "grid half as fine: 100 windows. The whole command is timed, from its start to its end: interpreters, "
        "imports, the model, reading, resampling, the network, resampling back, writing. All do the same: clip "
        "and standardise, linear resampling with extents that coincide, 64 x 64 x 64 windows at half overlap, "
        "Gaussian weights (MONAI's without its floor), no mirroring, logits resampled linearly, then the largest. "
        "nnU-Net's plan says linear instead of its usual cubic for the image, which is less work for it. Weights "
        f"are of a short training on another CT, so that the labels are clear ones ({found['foreground']:.0%} "
        "foreground). Memory is of all processes of a command together (sum of proportional set sizes, looked at "
        "ten times a second). The reference is torch in fp32 for the windows, and NumPy and scipy in float64 for "
        "all else; nnU-Net is held against one with its own weights, which are half a voxel off the centre.",
        "",
        *table((*head, "agreement", "grid"), rows),
        "",
        "```text",
        *found["commands"].values(),
        "```",
        "",
    ]
    stages = {name: seen for name, seen in result.items() if "stages" in seen[0]}
    if stages:
        names = list(next(iter(stages.values()))[0]["stages"])
        rows = [
            (NAMES[name], *(f"{statistics.median(row['stages'].get(s, 0) for row in seen):.1f}" for s in names))
            for name, seen in stages.items()
        ]
        lines += [
            "Where our seconds go, as the program tells itself; starting and loading the model come on top:",
            "",
            *table(("contender", *names), rows),
            "",
        ]
    for name, seen in result.items():
        said = sorted({line for row in seen for line in row.get("warnings", ())})
        lines += [f"* {NAMES[name]} says: {line}" for line in said]
    return [*lines, "", *_itkit_lines(found["itkit"]), "", "`make bench DATA=... ONLY=folder`"]


def _itkit_lines(seen: dict[str, Any]) -> list[str]:
    if "absent" in seen:
        return [seen["absent"]]
    if seen["written"]:
        return [
            f"`itk_infer` of itkit 4.0.0 wrote a label map after {seen['seconds']:.0f} s. It does not resample, "
            "so it is not the same work."
        ]
    return [
        "`itk_infer` of itkit 4.0.0, with the same network at fixed size and without resampling, which it does "
        f"not do: exit code {seen['code']} after {seen['seconds']:.0f} s, no label map. Its first error: "
        f"`{seen['error']}`"
    ]


def figures(found: dict[str, Any]) -> list[Figure]:
    printable = []
    for key, unit in (("seconds", "seconds"), ("peak_mib", "MiB, all processes")):
        bars = {NAMES[name].replace("`", ""): median(seen, key) for name, seen in found["rounds"].items()}
        printable.append(Figure(f"folder-{key.partition('_')[0]}", "One CT from file to label map", unit, bars))
    return printable
