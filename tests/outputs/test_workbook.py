from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from openpyxl import load_workbook
from openpyxl.worksheet.worksheet import Worksheet

from itk_infer.errors import OutputError
from itk_infer.outputs.tables.workbook import CaseRow, write_workbook
from itk_infer.spec import Label

LABELS = [Label(1, "liver", "#e6194b", 1), Label(2, "spleen", "#00ff10", 2)]


def sheet_of(path: Path) -> Worksheet:
    sheet = load_workbook(path).active
    assert isinstance(sheet, Worksheet)
    return sheet


def column(sheet: Worksheet, title: str) -> list[Any]:
    titles = [cell.value for cell in sheet[1]]
    return [row[titles.index(title)].value for row in sheet.iter_rows(min_row=2)]


def test_one_row_a_case_and_one_column_a_number(tmp_path: Path) -> None:
    path = tmp_path / "confidences.xlsx"
    row = CaseRow(
        "a.nii.gz",
        0.9,
        0.8,
        {"liver": 0.7, "spleen": None},
        {"liver": 1500.5, "spleen": 0.0},
        "small",
        "a.mha",
        "labels.csv",
        0.61,
        "liver",
        {"liver": 0.61, "spleen": None},
        {"liver": 1490.25, "spleen": 0.5},
        {"liver": 3, "spleen": 0},
        {"liver": 0.25, "spleen": None},
    )
    write_workbook(path, [row], LABELS)
    assert list(tmp_path.iterdir()) == [path]
    rows = list(sheet_of(path).iter_rows(values_only=True))
    assert rows[0] == (
        "file",
        "confidence",
        "foreground confidence",
        "confidence liver",
        "confidence spleen",
        "volume liver (ml)",
        "volume spleen (ml)",
        "review",
        "mask",
        "label table",
        "worst soft Dice",
        "worst label",
        "soft Dice liver",
        "soft Dice spleen",
        "expected volume liver (ml)",
        "expected volume spleen (ml)",
        "components liver",
        "components spleen",
        "outside largest component liver",
        "outside largest component spleen",
    )
    old = ("a.nii.gz", 0.9, 0.8, 0.7, None, 1500.5, 0, "small", "a.mha", "labels.csv")
    assert rows[1:] == [(*old, 0.61, "liver", 0.61, None, 1490.25, 0.5, 3, 0, 0.25, None)]


def test_least_confident_first_unknown_last(tmp_path: Path) -> None:
    path = tmp_path / "confidences.xlsx"
    confidences = {"a": 0.9, "b": None, "c": 0.0, "d": float("nan"), "e": 0.5, "f": 0.5}
    rows = [CaseRow(name, value, None) for name, value in reversed(confidences.items())]
    write_workbook(path, rows, LABELS)
    assert column(sheet_of(path), "file") == ["c", "e", "f", "a", "b", "d"]
    assert column(sheet_of(path), "confidence") == [0, 0.5, 0.5, 0.9, None, None]
    assert column(sheet_of(path), "review") == [None] * 6


def test_lowest_soft_dice_first_those_without_behind(tmp_path: Path) -> None:
    path = tmp_path / "confidences.xlsx"
    known = {"a": (0.1, 0.9), "b": (0.2, None), "c": (0.9, 0.3), "d": (0.8, 0.3), "e": (None, 0.0)}
    rows = [CaseRow(name, sure, None, soft_dice=soft) for name, (sure, soft) in known.items()]
    write_workbook(path, rows, LABELS)
    assert column(sheet_of(path), "file") == ["e", "d", "c", "a", "b"]


def test_labels_of_other_models_get_columns(tmp_path: Path) -> None:
    path = tmp_path / "confidences.xlsx"
    rows = [
        CaseRow("a", 0.1, None, {"heart": 0.4}, {"heart": 3.0, "aorta": 2.0}),
        CaseRow("b", 0.2, None, {"liver": 0.6}),
    ]
    write_workbook(path, rows, LABELS)
    assert column(sheet_of(path), "confidence heart") == [0.4, None]
    assert column(sheet_of(path), "confidence liver") == [None, 0.6]
    assert column(sheet_of(path), "volume aorta (ml)") == [2, None]
    assert [cell.value for cell in sheet_of(path)[1]][3:7] == [
        "confidence liver",
        "confidence spleen",
        "confidence heart",
        "confidence aorta",
    ]


@pytest.mark.parametrize(
    "name", ["=1+1.nii", "=HYPERLINK(0)", "+1", "-1", "@x", "a\x00b", "a\ud800b", "a\uffffb", "Ünï 像"]
)
def test_text_stays_text(tmp_path: Path, name: str) -> None:
    path = tmp_path / "confidences.xlsx"
    write_workbook(path, [CaseRow(name, 0.5, None, {name: 0.5}, {}, name)], [])
    sheet = sheet_of(path)
    printable = name.replace("\x00", "\ufffd").replace("\ud800", "\ufffd").replace("\uffff", "\ufffd")
    for cell in (sheet["A2"], sheet["F2"]):
        assert cell.value == printable
        assert cell.data_type == "s"
        assert bool(cell.quotePrefix) is (name[0] in "=+-@")
    assert sheet["D1"].value == f"confidence {printable}"


def test_dress(tmp_path: Path) -> None:
    path = tmp_path / "confidences.xlsx"
    write_workbook(path, [CaseRow("a", 0.5, 0.6, {"liver": 1.0}, {"liver": 2.0})] * 3, LABELS)
    sheet = sheet_of(path)
    assert sheet.freeze_panes == "B2"
    assert sheet.auto_filter.ref == "A1:T4"
    assert sheet["A1"].font.bold
    assert not sheet["A2"].font.bold
    assert sheet["B2"].number_format == sheet["D2"].number_format == "0.000"
    assert sheet["F2"].number_format == "0.00"
    assert sheet.column_dimensions["A"].width > sheet.column_dimensions["B"].width > 10
    assert [str(area.sqref) for area in sheet.conditional_formatting] == ["B2:C4"]


def test_no_case(tmp_path: Path) -> None:
    write_workbook(tmp_path / "confidences.xlsx", [], LABELS)
    assert sheet_of(tmp_path / "confidences.xlsx").max_row == 1


def test_former_workbook_is_replaced_and_a_link_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "confidences.xlsx"
    target = tmp_path / "target"
    target.write_text("precious")
    if os.name != "nt":
        path.symlink_to(target)
    write_workbook(path, [CaseRow("a", 0.5, None)], [])
    write_workbook(path, [CaseRow("b", 0.5, None)], [])
    assert column(sheet_of(path), "file") == ["b"]
    assert target.read_text() == "precious"


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"confidences\.xlsx"):
        write_workbook(tmp_path / "absent" / "confidences.xlsx", [], [])


def test_members_come_first_and_have_columns(tmp_path: Path) -> None:
    """How far they agree is the first sort key, also where the soft Dice says otherwise."""
    path = tmp_path / "confidences.xlsx"
    rows = [
        CaseRow("a", 0.9, None, soft_dice=0.2, agreement=0.9, agreement_per_label={"liver": 0.9, "spleen": None}),
        CaseRow("b", 0.9, None, soft_dice=0.8, agreement=0.1, agreement_per_label={"liver": 0.1, "spleen": 0.7}),
        CaseRow("c", 0.9, None, soft_dice=0.5, agreement=0.5, mutual_information=0.25),
    ]
    write_workbook(path, rows, LABELS)
    sheet = sheet_of(path)
    assert column(sheet, "file") == ["b", "c", "a"]
    assert column(sheet, "worst agreement") == [0.1, 0.5, 0.9]
    assert column(sheet, "agreement liver") == [0.1, None, 0.9]
    assert column(sheet, "agreement spleen") == [0.7, None, None]
    assert column(sheet, "mutual information") == [None, 0.25, None]
