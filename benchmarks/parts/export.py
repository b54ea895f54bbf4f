"""S2: from logits on the model's grid to labels on the case's own."""

from __future__ import annotations

from typing import Any

from plots import Figure
from setting import Setting, rounds
from tables import median, ratio, share, spread, table

CLASSES = (14, 118)
NAMES = {
    "nnunet-default": "nnU-Net, its default",
    "nnunet-torch": "nnU-Net, its torch resampler",
    "ours": "ours",
}


def measure(setting: Setting) -> dict[str, Any]:
    found = {}
    for classes in CLASSES:
        folder = setting.scratch / f"export{classes}"
        if not (folder / "reference.npy").exists():
            setting.ask(setting.ours, "contenders.export", folder, classes, "make", setting.threads)

        def run(name: str, folder: object = folder, classes: int = classes) -> dict[str, Any]:
            python = setting.ours if name == "ours" else setting.peers
            return setting.ask(python, "contenders.export", folder, classes, name, setting.threads)

        found[str(classes)] = rounds(setting, 3, list(NAMES), run)
    return {"rounds": found}


def section(found: dict[str, Any]) -> list[str]:
    lines = [
        "## Logits to labels",
        "",
        "From 64 x 128 x 128 voxels to 128 x 256 x 256, smooth organs over a background. Memory is what is needed "
        "beyond the logits. The reference is linear interpolation of every channel in float64, then the largest.",
        "",
    ]
    rows = [
        (
            classes,
            NAMES[name],
            spread(seen, "seconds", 2),
            f"{ratio(result, 'nnunet-default', name):.1f}",
            f"{median(seen, 'peak_mib'):,.0f}",
            share(min(row["agreement"] for row in seen)),
        )
        for classes, result in found["rounds"].items()
        for name, seen in result.items()
    ]
    head = ("classes", "contender", "seconds", "times nnU-Net's speed", "MiB", "agreement")
    return [*lines, *table(head, rows), "", "`make bench ONLY=export`"]


def figures(found: dict[str, Any]) -> list[Figure]:
    printable = []
    for key, unit in (("seconds", "seconds"), ("peak_mib", "MiB beyond the logits")):
        bars = {
            f"{NAMES[name]}, {classes} classes": median(seen, key)
            for classes, result in found["rounds"].items()
            for name, seen in result.items()
        }
        printable.append(
            Figure(f"export-{key.partition('_')[0]}", "Logits to labels on a grid twice as fine", unit, bars)
        )
    return printable
