"""Which number finds the masks that failed: damaged images, ranked by what the ledger holds of each.

The area under the risk-coverage curve (AURC): masks are taken in the order of a number, the surest first; risk is
one minus Dice, the mean over the masks taken so far; AURC is its mean over all coverages (Geifman et al. 2019,
arXiv 1805.08206). Lower is better. AUROC: how well the number separates masks with Dice below 0.7.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from plots import Figure
from setting import Setting
from tables import table

CONTENDER = Path(__file__).parents[1] / "contenders" / "damage.py"
DATA = ("demo/hippocampus_unet.onnx", "hippocampus/images", "hippocampus/labels")


def measure(setting: Setting) -> dict[str, Any]:
    paths = [setting.data_file(path) for path in DATA]
    if None in paths:
        return {"skipped": f"Finding failures needs {', '.join(DATA)} in the folder given as `DATA`."}
    command = [str(part) for part in (setting.ours, CONTENDER, *paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=setting.environment)
    return json.loads(done.stdout)


def section(found: dict[str, Any]) -> list[str]:
    rows = [
        (name, f"{values['aurc']:.3f}", f"{values['auroc']:.3f}", f"{values['spearman']:.2f}")
        for name, values in found["keys"].items()
    ]
    return [
        "## Which masks failed",
        "",
        f"The demo network on {found['cases']} hippocampi in {found['versions']} versions each: noise, blur, "
        "gamma, inversion, bias fields, thick slices, rotations, flips, ghosts, spikes, missing halves. "
        f"{found['failed']:.0%} of the masks have a Dice below 0.7. AURC is the area under the risk-coverage "
        f"curve; any order gives {found['random']:.3f} on average, the best {found['best']:.3f}. AUROC: how well "
        "the number separates the masks with a Dice below 0.7 from the others.",
        "",
        *table(("sorted by", "AURC", "AUROC", "rank correlation with Dice"), rows),
        "",
        *_calibrated(found),
        "`make bench DATA=... ONLY=failures`",
    ]


def _calibrated(found: dict[str, Any]) -> list[str]:
    judged = found["calibrated"]
    rows = [
        (limit, f"{each['accepted']:.0%}", f"{each['failures']:.1%}", f"{each['covered']:.0%}")
        for limit, each in judged.items()
    ]
    splits = next(iter(judged.values()))["splits"]
    return [
        "With a calibration of half of the images (soft Dice of the worst label, bounds for 90 % of cases), the "
        f"versions of the other half are judged; all {splits} halves. Versions of one image are not independent, "
        "which bounds assume.",
        "",
        *table(
            ("least Dice that is good enough", "accepted", "of these below it", "Dice above the lower bound"), rows
        ),
        "",
    ]


def figures(found: dict[str, Any]) -> list[Figure]:
    return []
