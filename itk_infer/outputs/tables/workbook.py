"""``confidences.xlsx``: the measurements of all masks, the doubtful ones first."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from itk_infer.files.commit import write_bytes
from itk_infer.outputs.tables.table import CaseRow, FolderView, Table
from itk_infer.spec import Label

if TYPE_CHECKING:
    from openpyxl.worksheet.worksheet import Worksheet

WORKBOOK = "confidences.xlsx"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TEXT, _CONFIDENCE, _MILLILITRES, _COUNT = "@", "0.000", "0.00", "0"
Column = tuple[str, str, Iterable[str | float | None]]  # title, format of the cells, one value per row
_WIDTHS = {_TEXT: 45, _CONFIDENCE: 13, _MILLILITRES: 13, _COUNT: 13}


def tables(view: FolderView) -> dict[str, Table]:
    """The workbook of a folder, by file name."""
    labels = [label for scheme in view.schemes.values() for label in scheme]
    content = [asdict(row) for row in view.rows], [asdict(label) for label in labels]
    return {WORKBOOK: Table(content, lambda path: write_workbook(path, view.rows, labels, track=True))}


def write_workbook(path: Path, rows: Sequence[CaseRow], labels: Sequence[Label], *, track: bool = False) -> None:
    """Write the workbook, one row per mask, the lowest soft Dice first and the unknown last.

    Args:
        path: File to write, ``.xlsx``.
        rows: The cases; labels of earlier models get columns, too.
        labels: The label table, for the order of the columns.
        track: Leave an intent, which the ledger removes.

    Raises:
        OutputError: the file cannot be written.
    """
    from openpyxl import Workbook
    from openpyxl.worksheet.worksheet import Worksheet

    book = Workbook()
    sheet = book.active
    if not isinstance(sheet, Worksheet):
        raise RuntimeError("a new workbook has no sheet")
    sheet.title = "confidences"
    rows = sorted(rows, key=_sort_key)
    names = dict.fromkeys(
        (
            *(label.name for label in labels),
            *(name for row in rows for name in (*row.confidence_per_label, *row.volumes_ml)),
        )
    )
    columns: list[Column] = [
        ("file", _TEXT, (row.file for row in rows)),
        ("confidence", _CONFIDENCE, (row.confidence for row in rows)),
        ("foreground confidence", _CONFIDENCE, (row.confidence_foreground for row in rows)),
        *((f"confidence {n}", _CONFIDENCE, [row.confidence_per_label.get(n) for row in rows]) for n in names),
        *((f"volume {n} (ml)", _MILLILITRES, [row.volumes_ml.get(n) for row in rows]) for n in names),
        ("review", _TEXT, (row.review for row in rows)),
        *([("verdict", _TEXT, [row.verdict for row in rows])] if any(row.verdict for row in rows) else []),
        ("mask", _TEXT, (row.mask for row in rows)),
        ("label table", _TEXT, (row.label_table for row in rows)),
        ("worst soft Dice", _CONFIDENCE, (row.soft_dice for row in rows)),
        ("worst label", _TEXT, (row.worst_label for row in rows)),
        *((f"soft Dice {n}", _CONFIDENCE, [row.soft_dice_per_label.get(n) for row in rows]) for n in names),
        *((f"expected volume {n} (ml)", _MILLILITRES, [row.expected_ml.get(n) for row in rows]) for n in names),
        *((f"components {n}", _COUNT, [row.components.get(n) for row in rows]) for n in names),
        *(
            (f"outside largest component {n}", _CONFIDENCE, [row.outside_largest.get(n) for row in rows])
            for n in names
        ),
        *(_of_members(rows, names) if any(row.agreement is not None for row in rows) else []),
    ]
    for index, (title, number_format, values) in enumerate(columns, 1):
        _fill(sheet, index, title, number_format, values)
    _format_sheet(sheet)
    content = io.BytesIO()
    book.save(content)
    write_bytes(content.getvalue(), path, track=track)


def _of_members(rows: Sequence[CaseRow], names: Iterable[str]) -> list[Column]:
    """Columns for models with members."""
    return [
        ("worst agreement", _CONFIDENCE, [row.agreement for row in rows]),
        *((f"agreement {n}", _CONFIDENCE, [row.agreement_per_label.get(n) for row in rows]) for n in names),
        ("mutual information", _CONFIDENCE, [row.mutual_information for row in rows]),
    ]


def _sort_key(row: CaseRow) -> tuple[float, float, str, str]:
    """By certainty, then by confidence; unknown values last."""
    values = [
        math.inf if value is None or math.isnan(value) else value for value in (row.certainty, row.confidence)
    ]
    return values[0], values[1], row.file, row.mask


def _fill(
    sheet: Worksheet, column: int, title: str, number_format: str, values: Iterable[str | float | None]
) -> None:
    from openpyxl.utils import get_column_letter

    sheet.column_dimensions[get_column_letter(column)].width = _WIDTHS[number_format]
    for row, value in enumerate((title, *values), 1):
        if value is None or value == "":
            continue
        cell = sheet.cell(row, column)
        if isinstance(value, str):
            cell.value = _NOT_XML.sub("\ufffd", value)
            # A name such as "=1+1" stays text, also when the cell is edited.
            cell.data_type = "s"
            cell.quotePrefix = value[0] in "=+-@"
        else:
            cell.value = value
            cell.number_format = number_format


def _format_sheet(sheet: Worksheet) -> None:
    from openpyxl.formatting.rule import ColorScaleRule
    from openpyxl.styles import Alignment, Font

    for cell in sheet[1]:
        cell.font = Font(bold=True)
        cell.alignment = Alignment(wrap_text=True, vertical="top")
    sheet.freeze_panes = "B2"
    sheet.auto_filter.ref = sheet.dimensions
    if sheet.max_row > 1:
        scale = ColorScaleRule("num", 0.5, "F8696B", "num", 0.75, "FFEB84", "num", 1.0, "63BE7B")  # type: ignore[no-untyped-call]
        sheet.conditional_formatting.add(f"B2:C{sheet.max_row}", scale)
