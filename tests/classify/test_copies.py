"""Images with one identity: copies, conflicts, and how their pixels are compared."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from itk_infer.classify.pixel_digests import PixelDigests

pytest.importorskip("pydicom", reason="pydicom writes the files")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
from support.classify_files import grey_dicom


def test_copies_count_once_and_conflicts_are_left_out(archive: Path, run: Any, rows: Any) -> None:
    """Whatever their names: the folder with more images of the study counts."""
    (archive / "0").mkdir()
    shutil.copy(archive / "a/1.dcm", archive / "0/copy.dcm")
    grey_dicom(archive / "0/conflict.dcm", 0.7, 1, study="a")
    for number in (10, 11):
        grey_dicom(archive / f"a/{number}.dcm", 0.1, number, study="a")
    summary = run(archive)
    assert (summary.copies, summary.conflicts) == (1, 1)
    marks = rows(
        "SELECT f.path, i.state, g.path FROM images i JOIN files f ON f.id = i.file JOIN images j ON j.id = i.same_as "
        "JOIN files g ON g.id = j.file ORDER BY f.path"
    )
    assert marks == [("0/conflict.dcm", "conflict", "a/2.dcm"), ("0/copy.dcm", "copy", "a/1.dcm")]
    (archive / "0/conflict.dcm").unlink()
    again = run(archive, forget_missing=True)
    assert (again.copies, again.conflicts) == (1, 0)


def test_a_copy_with_another_header_is_told_by_its_pixels(archive: Path, run: Any, rows: Any) -> None:
    import pydicom

    named = pydicom.dcmread(archive / "a/1.dcm")
    named.PatientName = "Named^Later"
    named.save_as(archive / "a/named.dcm")
    shutil.copy(archive / "a/2.dcm", archive / "a/equal.dcm")
    summary = run(archive)
    assert (summary.copies, summary.conflicts) == (2, 0)
    digests = rows(
        "SELECT f.path FROM images i JOIN files f ON f.id = i.file WHERE i.pixels_sha256 != '' ORDER BY 1"
    )
    assert digests == [("a/1.dcm",), ("a/named.dcm",)], "pixels of equal files need no comparison"


def test_pixels_that_are_gone_cannot_be_compared(archive: Path) -> None:
    sha256 = hashlib.sha256((archive / "a/1.dcm").read_bytes()).hexdigest()
    pixels = PixelDigests(archive)
    assert len(pixels("a/1.dcm", sha256, 0)) == 64
    assert pixels("a/2.dcm", sha256, 0) == "", "the file has another content"
    assert pixels("a/gone.dcm", sha256, 0) == ""
