"""What post-processing of a label map costs, and whether the programs leave the same voxels."""

from __future__ import annotations

from typing import Any

from plots import Figure
from setting import Setting, rounds
from tables import median, ratio, spread, table

NAMES = {
    "ours": "ours",
    "simpleitk": "SimpleITK, label by label",
    "monai": "MONAI, KeepLargestConnectedComponent",
}
TASKS = {"largest": tuple(NAMES), "holes": ("ours", "simpleitk")}  # MONAI takes minutes for one
WORDS = {"largest": "keep the largest part of each label", "holes": "fill the holes of each label"}


def measure(setting: Setting) -> dict[str, Any]:
    def run(job: str) -> dict[str, Any]:
        task, name = job.split()
        python = setting.peers if name == "monai" else setting.ours
        return setting.ask(python, "contenders.postprocess", task, name)

    return {
        "rounds": rounds(setting, 3, [f"{task} {name}" for task, names in TASKS.items() for name in names], run)
    }


def section(found: dict[str, Any]) -> list[str]:
    rows = found["rounds"]
    lines = []
    for task, names in TASKS.items():
        for name in names:
            job = f"{task} {name}"
            reference = rows[f"{task} ours"][0]["values"]
            differs = sum(abs(one - other) for one, other in zip(rows[job][0]["values"], reference, strict=True))
            lines.append(
                (
                    WORDS[task],
                    NAMES[name],
                    spread(rows[job], "seconds", 2),
                    f"{1 / ratio(rows, f'{task} ours', job):.2f}",
                    f"{median(rows[job], 'peak_mib'):,.0f}",
                    f"{differs:,}",
                )
            )
    return [
        "## Post-processing",
        "",
        "300 x 512 x 512 voxels, uint8, 20 labels, 400 stray blobs and holes. The peak contains label maps and "
        "libraries. The last column: voxels by which the labels' sizes differ from ours.",
        "",
        *table(("rule", "program", "CPU seconds", "times ours", "peak MiB", "difference"), lines),
        "",
        "`make bench ONLY=postprocess`",
    ]


def figures(found: dict[str, Any]) -> list[Figure]:
    return []
