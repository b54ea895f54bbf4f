"""The files of the report: ``report.html``, ``report.csv``, ``report.json``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from itk_infer.files.commit import write_bytes
from itk_infer.outputs.tables.report.entry import entries_of
from itk_infer.outputs.tables.report.flat import SCHEMA, csv_of, json_of
from itk_infer.outputs.tables.report.page import LAYOUT, page_of
from itk_infer.outputs.tables.report.summary import summary_of
from itk_infer.outputs.tables.table import FolderView, Table

PAGE, CSV, JSON = "report.html", "report.csv", "report.json"


def tables(view: FolderView) -> dict[str, Table]:
    """The report of a folder, by file name."""
    entries = entries_of(view)
    summary = summary_of(entries, view)
    content = (SCHEMA, LAYOUT, [asdict(entry) for entry in entries], summary.document(), dict(view.failed))
    makers: dict[str, Callable[[], bytes]] = {
        PAGE: lambda: page_of(entries, view, summary),
        CSV: lambda: csv_of(entries),
        JSON: lambda: json_of(entries, view, summary),
    }
    return {name: Table((name, *content), _writer(make)) for name, make in makers.items()}


def _writer(make: Callable[[], bytes]) -> Callable[[Path], None]:
    return lambda path: write_bytes(make(), path, track=True)
