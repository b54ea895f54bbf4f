"""Tables for spreadsheets: text that is not calculated, and files that Excel opens as they are."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from itk_infer.files.commit import new_file

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # OWASP, CSV injection; CWE-1236
Cell = str | int | float | None
OnDigest = Callable[[str], None]


def text_cell(text: str) -> str:
    """A cell that a spreadsheet does not calculate."""
    return f"'{text}" if text[:1] in FORMULA and text else text


def write_csv(
    path: Path, rows: Iterable[Sequence[Cell]], *, plain: bool = False, on_digest: OnDigest = lambda digest: None
) -> None:
    """Write a table row by row, in the form of RFC 4180.

    Args:
        path: Final path of the file.
        rows: Header first. Texts are made safe by `text_cell`; numbers stay numbers.
        plain: For programs: without the byte order mark by which Excel knows UTF-8, and with plain line ends.
        on_digest: Called with the SHA-256 of the file, before it gets its final name.

    Raises:
        OutputError: it cannot be written.
    """
    encoding, end = ("utf-8", "\n") if plain else ("utf-8-sig", "\r\n")
    with new_file(path) as partial:
        with partial.open("w", encoding=encoding, errors="backslashreplace", newline="") as file:
            table = csv.writer(file, lineterminator=end)
            table.writerows([text_cell(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
        on_digest(digest(partial))


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
