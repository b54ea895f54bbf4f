"""The label table as the colour table that 3D Slicer reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from itk_infer.files.commit import write_bytes
from itk_infer.outputs.tables.table import FolderView, Table
from itk_infer.spec import Label


def tables(view: FolderView) -> dict[str, Table]:
    """The label tables of a folder, by file name."""
    return {name: _table(sorted(labels, key=lambda label: label.value)) for name, labels in view.schemes.items()}


def _table(labels: list[Label]) -> Table:
    content = [asdict(label) for label in labels]
    return Table((content,), lambda path: write_label_table(path, labels, track=True))


def write_label_table(path: Path, labels: Sequence[Label], *, track: bool = False) -> None:
    """Write ``labels.csv``: the required columns of Slicer's colour tables, one row per label.

    Slicer's reader does not support quotation marks within a value; they become apostrophes.

    Raises:
        OutputError: the file cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("LabelValue", "Name", "Color_R", "Color_G", "Color_B", "Color_A"))
    for label in labels:
        name = " ".join(label.name.replace('"', "'").split())
        table.writerow((label.value, name, *label.rgb, 255))
    write_bytes(text.getvalue().encode(), path, track=track)
