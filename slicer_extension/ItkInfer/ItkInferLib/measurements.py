"""Volume and confidence of each segment, from the ledger in the output folder of a run."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import List, Mapping, Optional


@dataclass(frozen=True)
class Measurement:
    """One segment: its volume in ml and the mean confidence of its voxels, 0 to 1, if known."""

    name: str
    volume_ml: float
    confidence: Optional[float] = None


def read_measurements(output: str, case: str, volumes_ml: Mapping[str, float]) -> List[Measurement]:
    """The measurements of a case.

    Args:
        output: Output folder of the run.
        case: Name of the case.
        volumes_ml: Volumes from the event of the case, used if the ledger cannot be read.
    """
    path = os.path.join(output, "itk_infer.db")
    try:
        with closing(sqlite3.connect(Path(path).absolute().as_uri() + "?mode=ro", uri=True)) as ledger:
            row = ledger.execute("SELECT results FROM cases WHERE name = ?", (case,)).fetchone()
        labels = json.loads(row[0])["findings"]
        return [
            Measurement(str(item["name"]), float(item["volume_ml"]), _number(item.get("confidence")))
            for item in labels
        ]
    except (sqlite3.Error, ValueError, KeyError, TypeError):
        return [Measurement(name, volume) for name, volume in volumes_ml.items()]


def _number(value: object) -> Optional[float]:
    return float(value) if isinstance(value, (int, float)) else None
