"""What a comparison with ground truth costs, and how far the programs agree."""

from __future__ import annotations

from typing import Any

from plots import Figure
from setting import Setting, rounds
from tables import median, ratio, spread, table

NAMES = {
    "ours": "ours, `itk_infer evaluate`",
    "simpleitk": "SimpleITK, HausdorffDistance and LabelOverlapMeasures",
    "monai": "MONAI, HD95 and NSD with sub-voxels",
    "surface-distance": "surface-distance 0.1",
}
TASKS = {"organ": tuple(NAMES), "labels": ("ours", "simpleitk")}
VALUES = ("dice", "hd", "hd95", "nsd", "assd")


def measure(setting: Setting) -> dict[str, Any]:
    def run(job: str) -> dict[str, Any]:
        task, name = job.split()
        python = setting.ours if name in ("ours", "simpleitk") else setting.peers
        return setting.ask(python, "contenders.evaluate", task, name)

    jobs = [f"{task} {name}" for task, names in TASKS.items() for name in names]
    return {"rounds": rounds(setting, 3, jobs, run)}


def section(found: dict[str, Any]) -> list[str]:
    rows = found["rounds"]
    organ, labels = [], []
    for task, names in TASKS.items():
        for name in names:
            job = f"{task} {name}"
            cells = [
                NAMES[name],
                spread(rows[job], "seconds", 2),
                f"{1 / ratio(rows, f'{task} ours', job):.2f}",
                f"{median(rows[job], 'peak_mib'):,.0f}",
            ]
            values = rows[job][0]["values"]
            if task == "organ":
                organ.append((*cells, *(f"{values[key]:.4f}" if key in values else "" for key in VALUES)))
            else:
                reference = rows["labels ours"][0]["values"]
                worst = max(abs(one - other) for one, other in zip(values, reference, strict=True))
                labels.append((*cells, f"{worst:.0e}"))
    head = ("program", "CPU seconds", "times ours", "peak MiB")
    return [
        "## Against ground truth",
        "",
        "300 x 512 x 512 voxels, uint8. One organ of 3.5 million voxels with islands all over the image; the peak "
        "contains both label maps and the libraries. An empty cell: the program does not have it.",
        "",
        *table((*head, *VALUES), organ),
        "",
        "Dice of 20 labels, and the largest difference from ours.",
        "",
        *table((*head, "difference"), labels),
        "",
        "`make bench ONLY=evaluate`",
    ]


def figures(found: dict[str, Any]) -> list[Figure]:
    return []
