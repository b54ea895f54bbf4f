"""``itk_infer evaluate`` on the command line."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.cli.main import main
from itk_infer.files.commit import partial_path


def save(path, array, spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0)):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    path.parent.mkdir(exist_ok=True)
    sitk.WriteImage(image, str(path))


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Three masks and truths; the label is missed in the last."""
    monkeypatch.chdir(tmp_path)
    truth = np.zeros((6, 7, 8), np.uint8)
    truth[1:4, 1:5, 1:6] = 1
    for index, mask in enumerate((truth, np.roll(truth, 1, axis=0), truth * 0)):
        save(tmp_path / f"masks/{index}.nii.gz", mask)
        save(tmp_path / f"truths/{index}_gt.nii.gz", truth)
    return tmp_path


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


BASIC = ("evaluate", "masks", "truths", "--workers", "1")


def test_tables_and_page(scratch, capfd):
    save(scratch / "masks/lonely.mha", np.zeros((2, 2, 2), np.uint8))
    assert main((*BASIC, "-o", "out/metrics.csv", "--html", "--lesions", "--tolerance", "1")) == 0
    out, err = capfd.readouterr()
    assert "label 1  Dice 0.556 (0.000 to 1.000); NSD" in out
    assert "HD95 0.50 mm, mean over 2 found of 3" in out
    assert "lesions: 2 of 3 matched, 0 false" in out
    assert "1 masks have no truth and are in no mean: lonely" in err
    assert "3 cases compared, 0 failed" in err
    assert sorted(path.name for path in (scratch / "out").iterdir()) == [
        "metrics.csv",
        "metrics.html",
        "metrics.itk_infer.db",
        "metrics_summary.csv",
    ]
    found = rows(scratch / "out/metrics.csv")
    assert [row["state"] for row in found] == ["found", "found", "missed"]
    assert [row["dice"] for row in found] == ["1", "0.666667", "0"]
    assert [row["hd95_mm"] for row in found] == ["0", "1", "inf"]
    assert {row["tolerance_mm"] for row in found} == {"1"}
    assert "lonely" in (scratch / "out/metrics.html").read_text()
    assert main((*BASIC, "-o", "out/metrics.csv", "--lesions", "--tolerance", "1")) == 0
    assert "3 cases compared, 3 of them stored before, 0 failed" in capfd.readouterr().err
    assert rows(scratch / "out/metrics.csv") == found


def test_without_a_table_nothing_is_written(scratch, capfd):
    before = sorted(scratch.rglob("*"))
    assert main(BASIC) == 0
    assert "Dice" in capfd.readouterr().out
    assert sorted(scratch.rglob("*")) == before


def test_names_and_tolerances(scratch, capfd):
    (scratch / "names.csv").write_text("LabelValue,Name\n1,liver\n")
    named = ("--labels", "names.csv", "--tolerance", "3", "--tolerance", "liver=0.5")
    assert main((*BASIC, *named)) == 0
    assert "liver  Dice" in (out := capfd.readouterr().out)
    assert "at 0.5 mm" in out
    assert main((*BASIC, "--labels", "names.csv", "--tolerance", "spleen=1")) == 2
    assert "no label of that name; there are liver" in capfd.readouterr().err
    (scratch / "truths.csv").write_text("LabelValue,Name\n1,spleen\n")
    assert main((*BASIC, "--labels", "names.csv", "--truth-labels", "truths.csv")) == 0
    assert "value 1 is liver in the masks and spleen in the truths: not compared" in capfd.readouterr().err


def test_another_grid(scratch, capfd):
    mask = np.zeros((6, 7, 8), np.uint8)
    mask[1:4, 1:5, 1:6] = 1
    save(scratch / "masks/1.nii.gz", mask, origin=(0.0, 0.0, 1.0))
    assert main((*BASIC, "-o", "metrics.csv")) == 3
    err = capfd.readouterr().err
    assert "failed: 1: 1: the mask lies on another grid" in err
    assert "--resample nearest compares" in err
    assert [row["case"] for row in rows(scratch / "metrics.csv")] == ["0", "2"]
    assert main((*BASIC, "-o", "metrics.csv", "--resample", "nearest")) == 0
    assert "1: the mask lay on another grid and was resampled" in capfd.readouterr().err
    assert len(rows(scratch / "metrics.csv")) == 3


def test_nothing_that_can_be_compared(scratch, capfd):
    for path in (scratch / "truths").iterdir():
        path.write_bytes(b"no image")
    assert main((*BASIC, "-o", "metrics.csv")) == 4
    assert not (scratch / "metrics.csv").exists()
    for path in (scratch / "truths").iterdir():
        path.unlink()
    assert main(BASIC) == 6
    assert "No mask has a truth" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--html",), "give the table with -o"),
        (("-o", "metrics.xlsx"), "the table is a .csv file"),
        (("--tolerance", "much"), "give millimetres"),
        (("--tolerance", "-1"), "give millimetres"),
        (("--tolerance", "liver=inf"), "give millimetres"),
    ],
)
def test_wrong_options(scratch, capfd, options, words):
    assert main((*BASIC, *options)) == 2
    assert words in capfd.readouterr().err


def test_without_scipy(scratch, capfd, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(BASIC) == 2
    assert 'pip install "itk_infer[evaluate]"' in capfd.readouterr().err


def test_an_old_table_stays_where_the_new_one_cannot_be_written(scratch, monkeypatch):
    assert main((*BASIC, "-o", "metrics.csv")) == 0
    before = (scratch / "metrics.csv").read_bytes()

    def full(final):
        return partial_path(final.parent / "gone" / final.name)

    monkeypatch.setattr("itk_infer.files.commit.partial_path", full)
    assert main((*BASIC, "-o", "metrics.csv", "--tolerance", "1")) == 3
    assert (scratch / "metrics.csv").read_bytes() == before
