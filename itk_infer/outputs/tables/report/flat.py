"""``report.csv`` and ``report.json``: the report for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from itk_infer.files.cells import text_cell
from itk_infer.outputs.tables.report.entry import Entry
from itk_infer.outputs.tables.report.summary import Summary
from itk_infer.outputs.tables.table import FolderView

SCHEMA = "itk_infer.report/1"
COLUMNS = (
    *("rank", "case", "mask", "sha256", "certainty", "confidence", "foreground confidence", "reasons"),
    *("verdict", "who", "when", "note", "seconds", "picture"),
    *("calibrated verdict", "agreement", "mutual information"),
)


def csv_of(entries: Sequence[Entry]) -> bytes:
    """One row per mask, the doubtful ones first; UTF-8."""
    names = list(dict.fromkeys(name for entry in entries for name in entry.row.volumes_ml))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow((*COLUMNS, *(f"volume {name} (ml)" for name in names)))
    for rank, entry in enumerate(entries, 1):
        row, facts = entry.row, entry.facts
        cells: tuple[Any, ...] = (
            *(rank, row.file, row.mask, facts.sha256, entry.certainty, row.confidence),
            *(row.confidence_foreground, row.review, facts.verdict, facts.who, facts.time, facts.note),
            *(round(sum(facts.seconds.values()), 4), facts.picture),
            *(row.verdict, row.agreement, row.mutual_information),
            *(row.volumes_ml.get(name) for name in names),
        )
        table.writerow([text_cell(cell) if isinstance(cell, str) else cell for cell in cells])
    return text.getvalue().encode("utf-8", "backslashreplace")


def json_of(entries: Sequence[Entry], view: FolderView, summary: Summary) -> bytes:
    """Cases and summary as one object, with the key ``schema``."""
    document = {
        "schema": SCHEMA,
        "summary": summary.document(),
        "labels": [
            {"table": name, "value": label.value, "name": label.name, "color": label.color}
            for name, labels in view.schemes.items()
            for label in labels
        ],
        "cases": [
            {
                "rank": rank,
                "case": entry.row.file,
                "mask": entry.row.mask,
                "sha256": entry.facts.sha256,
                "certainty": entry.certainty,
                "confidence": entry.row.confidence,
                "confidence_foreground": entry.row.confidence_foreground,
                "confidence_per_label": entry.row.confidence_per_label,
                "volumes_ml": entry.row.volumes_ml,
                "agreement": entry.row.agreement,
                "agreement_per_label": entry.row.agreement_per_label,
                "mutual_information": entry.row.mutual_information,
                "calibrated_verdict": entry.row.verdict,
                "reasons": entry.row.review,
                "label_table": entry.row.label_table,
                "seconds": dict(entry.facts.seconds),
                "picture": entry.facts.picture,
                "review": {
                    "verdict": entry.facts.verdict,
                    "who": entry.facts.who,
                    "when": entry.facts.time,
                    "note": entry.facts.note,
                },
            }
            for rank, entry in enumerate(entries, 1)
        ],
        "failed": dict(view.failed),
    }
    return json.dumps(document, indent=1).encode()
