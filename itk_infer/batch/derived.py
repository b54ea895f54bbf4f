"""The tables that are made from the ledger, and can be made again at any time."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from itk_infer.batch.fingerprint import sha256_of, stamp_of
from itk_infer.batch.ledger import Ledger, OutputFile
from itk_infer.batch.review import review_reasons
from itk_infer.outputs.label_table import write_label_table
from itk_infer.outputs.workbook import CaseRow, write_workbook
from itk_infer.spec import Label
from itk_infer.volume.claim import is_claimed, release

WORKBOOK = "confidences.xlsx"
LABEL_TABLE = "labels.csv"


def write_derived(folder: Path, ledger: Ledger, *, workbook: bool, overwrite: bool) -> list[str]:
    """Write ``labels.csv`` and, if wanted or already there, ``confidences.xlsx``.

    Args:
        folder: Output folder.
        ledger: Its ledger.
        workbook: Whether the spreadsheet was asked for.
        overwrite: Replace files that somebody else changed.

    Returns:
        Sentences about files that were kept because somebody else changed them.

    Raises:
        OutputError: a file cannot be written.
    """
    records = {name: record.results for name, record in ledger.cases().items() if record.results}
    if not records:
        return []
    labels = _labels(records)
    reasons = review_reasons(records)
    rows = [_row(name, result, reasons[name]) for name, result in records.items()]
    kept = []
    tables: list[tuple[str, Callable[[Path], None]]] = [
        (LABEL_TABLE, lambda path: write_label_table(path, labels, claimed=True))
    ]
    if workbook or (folder / WORKBOOK).exists():
        tables.append((WORKBOOK, lambda path: write_workbook(path, rows, labels, claimed=True)))
    outputs = ledger.outputs()
    for name, write in tables:
        path = folder / name
        if not overwrite and _touched(path, outputs.get(name)):
            kept.append(f"kept {path}: somebody else wrote or changed it; --overwrite replaces it")
            continue
        write(path)
        ledger.record_output(OutputFile(name, "", "derived", {}, sha256_of(path), stamp_of(path)))
        release(path)
    return kept


def tables_exist(folder: Path, *, workbook: bool) -> bool:
    """Whether the tables that a run writes are there."""
    return (folder / LABEL_TABLE).exists() and (not workbook or (folder / WORKBOOK).exists())


def _touched(path: Path, output: OutputFile | None) -> bool:
    if not os.path.lexists(path):
        return False
    known = output is not None and not path.is_symlink() and sha256_of(path) == output.sha256
    return not known and not is_claimed(path)


def _labels(records: dict[str, dict[str, Any]]) -> list[Label]:
    """The label table of the latest model, then labels that only earlier ones had."""
    latest = sorted(records.values(), key=lambda result: str(result["ended"]), reverse=True)
    labels: dict[int, Label] = {}
    for result in latest:
        for finding in result["findings"]:
            label = Label(finding["value"], finding["name"], finding["color"], finding["channel"])
            labels.setdefault(label.value, label)
    return list(labels.values())


def _row(name: str, result: dict[str, Any], review: str) -> CaseRow:
    return CaseRow(
        file=name,
        confidence=result["confidence"],
        confidence_foreground=result["confidence_foreground"],
        confidence_per_label={f["name"]: f["confidence"] for f in result["findings"]},
        volumes_ml={f["name"]: f["volume_ml"] for f in result["findings"]},
        review=review,
    )
