"""A temporary folder where the machine has none."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from itk_infer.files.commit import sweep_partials
from itk_infer.files.temporary import temporary_folder


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine on which no usual folder can be written."""

    def fail():
        if tempfile.tempdir is None:
            raise FileNotFoundError("no usable temporary directory")
        return tempfile.tempdir

    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "gettempdir", fail)
    return tmp_path


def test_where_there_is_one_nothing_happens(tmp_path):
    before = tempfile.gettempdir(), os.environ.get("TMPDIR")
    with temporary_folder(tmp_path):
        assert (tempfile.gettempdir(), os.environ.get("TMPDIR")) == before
        assert not list(tmp_path.iterdir())


def test_the_first_place_that_can_be_written_is_taken(bare):
    missing, file = bare / "out" / "m", bare / "file"
    file.touch()
    (bare / "out").mkdir()
    with temporary_folder(Path("/proc/no/such/place"), missing):
        folder = Path(tempfile.gettempdir())
        assert folder.parent == bare / "out"  # the nearest that exists
        assert os.environ["TMPDIR"] == str(folder)
        with tempfile.TemporaryDirectory() as inside:
            assert Path(inside).parent == folder
        (folder / "left").touch()
        assert not sweep_partials(bare / "out")  # in use
    assert not folder.exists()
    assert "TMPDIR" not in os.environ
    assert tempfile.tempdir is None


def test_what_a_kill_leaves_is_swept_by_the_next_run(bare):
    with temporary_folder(bare):
        folder = Path(tempfile.gettempdir())
        tempfile.tempdir = None  # as it is for another process
        assert sweep_partials(bare) == [folder]


def test_the_current_folder_is_no_temporary_one(bare, monkeypatch):
    """It may be the folder of scans."""
    monkeypatch.chdir(bare)
    monkeypatch.setattr(tempfile, "tempdir", str(bare))
    (bare / "out").mkdir()
    with temporary_folder(bare / "out"):
        assert Path(tempfile.gettempdir()).parent == bare / "out"
    assert tempfile.tempdir == str(bare)


def test_without_any_place_nothing_is_changed(bare):
    with temporary_folder(Path("/proc/no/such/place")):
        assert tempfile.tempdir is None
