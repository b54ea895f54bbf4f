from __future__ import annotations

import csv
from pathlib import Path

import pytest

from itk_infer.errors import OutputError
from itk_infer.outputs.tables.label_table import write_label_table
from itk_infer.spec import Label


def test_columns_and_rows(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    write_label_table(path, [Label(1, "liver, left", "#e6194b", 1), Label(300, "Gefäß", "#00ff10", 2)])
    assert path.read_bytes().decode() == (
        'LabelValue,Name,Color_R,Color_G,Color_B,Color_A\n1,"liver, left",230,25,75,255\n300,Gefäß,0,255,16,255\n'
    )
    assert list(tmp_path.iterdir()) == [path]


def test_names_slicer_cannot_read_are_mended(tmp_path: Path) -> None:
    write_label_table(tmp_path / "labels.csv", [Label(1, 'the "big"\none', "#000000", 1)])
    with (tmp_path / "labels.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[1][1] == "the 'big' one"


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"labels\.csv"):
        write_label_table(tmp_path / "absent" / "labels.csv", [])
