"""Memory of ensembles: that of their members' rings, whatever the depth of the image."""

from __future__ import annotations

from typing import Any

from plots import Figure
from setting import Setting
from tables import table

MEMBERS, GRIDS, DEPTHS = (1, 2, 4), ("same", "different"), (100, 300)


def measure(setting: Setting) -> dict[str, Any]:
    found = {}
    for grids in GRIDS:
        for members in MEMBERS:
            for depth in DEPTHS:
                key = f"{grids} {members} {depth}"
                found[key] = setting.ask(setting.ours, "contenders.ensemble_memory", members, grids, depth)
    return {"cases": found}


def beyond(row: dict[str, Any]) -> float:
    """MiB beside image, label map and prepared images."""
    return float(row["peak_mib"] - row["image_mib"])


def section(found: dict[str, Any]) -> list[str]:
    rows = []
    for key, row in found["cases"].items():
        grids, members, depth = key.split()
        alone = found["cases"][f"{grids} 1 {depth}"]
        more = (beyond(row) - beyond(alone)) / (row["rings_mib"] - alone["rings_mib"]) if members != "1" else None
        rows.append(
            (
                grids,
                members,
                depth,
                f"{row['rings_mib']:,.0f}",
                f"{beyond(row):,.0f}",
                f"{beyond(row) / row['rings_mib']:.2f}",
                "" if more is None else f"{more:.2f}",
                f"{row['peak_mib']:,.0f}",
                f"{row['planned_mib']:,.0f}",
            )
        )
    head = (
        *("members' grids", "members", "Z", "MiB of rings", "MiB beside images", "of the rings"),
        *("each further member, of its ring", "MiB in all", "planned"),
    )
    return [
        "## Memory of ensembles",
        "",
        "Z x 256 x 256 voxels, 8 channels, windows of 64 x 64 x 64; members with different grids resample to "
        "1, 1.3, 0.9 and 1.6 mm. The networks only multiply, so that what a network itself needs is not counted. "
        "Images are the stored one, the label map and, where a member resamples, its float copy. What one member "
        "needs beside its ring is in the rows of one member.",
        "",
        *table(head, rows),
        "",
        "`make bench ONLY=ensemble`",
    ]


def figures(found: dict[str, Any]) -> list[Figure]:
    return []
