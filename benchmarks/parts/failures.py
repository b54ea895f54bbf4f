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
    rows = [
        (
            way,
            limit,
            f"{each['accepted']:.0%}",
            f"{each['failures']:.1%}",
            f"{each['nothing']:.0%}",
            f"{each['broken']:.0%}",
            f"{each['covered']:.0%}",
        )
        for way, limits in found["calibrated"].items()
        for limit, each in limits.items()
    ]
    return [
        "With a calibration of half of the versions (soft Dice of the worst label), the others are judged. Asked "
        "for: at most 5 % failures among the accepted in 90 % of calibrations, and a lower bound of Dice for 90 % "
        "of cases. Halves of the versions by chance have what both assume, calibrating cases like those that are "
        "judged. Halves of the images do not: the versions of four images stand for those of four others.",
        "",
        *table(
            (
                "halves of the",
                "least Dice that is good enough",
                "accepted",
                "of these below it",
                "calibrations that accept nothing",
                "with more than 5 % failures",
                "Dice above the lower bound",
            ),
            rows,
        ),
        "",
    ]


def figures(found: dict[str, Any]) -> list[Figure]:
    return []
