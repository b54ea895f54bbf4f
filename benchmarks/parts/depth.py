"""Memory against the depth of the volume. MONAI comes first: the others are held against its labels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from folders import NAMES, segment
from plots import Figure
from setting import Setting
from tables import share, table

DEPTHS = (100, 200, 400, 800)
CONTENDERS = ("monai", "nnunet", "ours")
PLANE = (256, 256)
PER_VOXEL = 3  # bytes: the image is int16, the label map uint8


def measure(setting: Setting, kept: dict[str, Any] | None = None) -> dict[str, Any]:
    ct = setting.data_file("ct")
    if ct is None:
        return {"skipped": "Memory against depth needs `ct/example_ct.nii.gz` in the folder given as `DATA`."}
    folder = setting.scratch / "depth"
    if not (folder / str(DEPTHS[-1]) / "nnunet").exists():
        setting.ask(setting.peers, "contenders.folder_workload", folder, ct, "deep", *DEPTHS)
    names = setting.again if setting.again and kept else CONTENDERS
    found: dict[str, Any] = {name: {} for name in CONTENDERS} | (kept["contenders"] if kept else {})
    for depth in DEPTHS:
        for name in names:
            found[name][str(depth)], labels = segment(setting, name, folder / str(depth))
            found[name][str(depth)]["agreement"] = float(np.mean(labels == written(setting, "monai", depth)))
            seen = found[name][str(depth)]
            print(f"  {depth} {name}: {seen['seconds']:.1f} s, {seen['peak_mib']:,.0f} MiB", flush=True)
    return {"contenders": found}


def written(setting: Setting, name: str, depth: int) -> np.ndarray:
    """The labels that a contender wrote, now or in an earlier run, (Z, Y, X)."""
    import SimpleITK as sitk

    folder = setting.scratch / "out" / str(depth) / name
    return sitk.GetArrayFromImage(sitk.ReadImage(str(next(folder.glob("*.nii.gz")))))


def itself(depth: int) -> float:
    """MiB of image and label map."""
    return PER_VOXEL * depth * math.prod(PLANE) / 2**20


def points(seen: dict[str, Any]) -> list[tuple[float, float]]:
    return [(int(depth), row["peak_mib"] - itself(int(depth))) for depth, row in seen.items()]


def section(found: dict[str, Any]) -> list[str]:
    rows = []
    for name, seen in found["contenders"].items():
        beyond = dict(points(seen))
        rows.append(
            (
                NAMES[name],
                *(f"{beyond[depth]:,.0f}" for depth in DEPTHS),
                f"{beyond[DEPTHS[-1]] / beyond[200]:.2f}",
                f"{seen[str(DEPTHS[-1])]['seconds']:.0f}",
                share(min(row["agreement"] for row in seen.values())),
            )
        )
    head = ("contender", *(f"Z = {depth}" for depth in DEPTHS), "Z = 800 / Z = 200", "seconds at 800", "agreement")
    return [
        "## Memory against depth",
        "",
        "Z x 256 x 256 voxels of CT, 14 classes, 64 x 64 x 64 windows, a small network (8 and 16 channels, random "
        "weights), no resampling, whole commands as above, once each. MiB of all processes, without the image "
        "(int16) and the label map (uint8) themselves. Agreement is with MONAI's labels; nnU-Net "
        "spreads its windows evenly, and so places them elsewhere at these depths.",
        "",
        *table(head, rows),
        "",
        "`make bench DATA=... ONLY=depth`",
    ]


def figures(found: dict[str, Any]) -> list[Figure]:
    lines = {NAMES[name]: points(seen) for name, seen in found["contenders"].items()}
    title = "Memory without image and label map, Z x 256 x 256 voxels"
    return [Figure("depth", title, "MiB, all processes", lines=lines, across="Z")]
