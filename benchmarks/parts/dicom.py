"""What DICOM objects cost: a SEG of 20 labels."""

from __future__ import annotations

from typing import Any

from plots import Figure
from setting import Setting, rounds
from tables import median, spread, table

ENCODINGS = {"binary": "binary, one bit per voxel, slice and label", "labelmap": "label map, RLE"}


def measure(setting: Setting) -> dict[str, Any]:
    def run(name: str) -> dict[str, Any]:
        return setting.ask(setting.ours, "contenders.dicom_objects", name)

    return {"rounds": rounds(setting, 3, list(ENCODINGS), run)}


def section(found: dict[str, Any]) -> list[str]:
    rows = found["rounds"]
    covered = rows["binary"][0]["covered"]
    cells = [
        (
            words,
            spread(rows[name], "seconds", 2),
            f"{median(rows[name], 'bytes') / 1e6:.1f}",
            f"{median(rows[name], 'peak_mib') - median(rows[name], 'before_mib'):,.0f}",
        )
        for name, words in ENCODINGS.items()
    ]
    return [
        "## DICOM SEG",
        "",
        f"20 labels on 300 slices of 512 x 512, {covered:.1%} of the voxels; made from the label map in memory, "
        "written, read back and synced. Memory is what it takes beside the label map and the libraries.",
        "",
        *table(("encoding", "CPU seconds", "MB", "MiB of memory"), cells),
        "",
        "`make bench ONLY=dicom`",
    ]


def figures(found: dict[str, Any]) -> list[Figure]:
    return []
