"""`results.xlsx`: sheets of studies and images; identifiers are text, so that no digits are lost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from itk_infer.files.cells import FORMULA, Cell, OnDigest, digest
from itk_infer.files.commit import new_file

MOST_ROWS: Final = 100_000  # per sheet; the format's limit of a million takes minutes to write
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_workbook(path: Path, sheets: Mapping[str, Iterable[Sequence[Cell]]], on_digest: OnDigest) -> list[str]:
    """Write a workbook row by row.

    Args:
        path: Final path of the file.
        sheets: Rows by sheet title, the header first.
        on_digest: Called with the SHA-256 of the file, before it gets its final name.

    Returns:
        Titles of sheets that were truncated at `MOST_ROWS`.

    Raises:
        OutputError: the file cannot be written.
    """
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Font

    book, cut = Workbook(write_only=True), []
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        sheet.freeze_panes = "B2"

        def cell(value: Cell, bold: bool, sheet: object = sheet) -> object:
            if not isinstance(value, str) and not bold:
                return value
            made = WriteOnlyCell(sheet, None)  # type: ignore[arg-type]
            made.value = _NOT_XML.sub("\ufffd", str(value))
            made.data_type = "s"
            made.number_format = "@"
            made.quotePrefix = str(value)[:1] in FORMULA and value != ""
            if bold:
                made.font = Font(bold=True)
            return made

        for number, row in enumerate(rows):
            if number > MOST_ROWS:
                cut.append(title)
                break
            sheet.append([cell(value, number == 0) for value in row])
    with new_file(path) as partial:
        book.save(partial)
        on_digest(digest(partial))
    return cut
