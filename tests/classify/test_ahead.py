"""Files that are read while the model is loaded."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pydicom", reason="pydicom writes the files")
from support import dicom_files

from itk_infer.classify import ahead as module
from itk_infer.classify.ahead import Ahead
from itk_infer.classify.database import ResultsDatabase
from itk_infer.errors import InputError
from itk_infer.spec.classify_spec import SelectRule
from itk_infer.testing.faulty import wait_until
from itk_infer.volume.picture_input.dicom_pictures import DicomPictures
from itk_infer.volume.picture_input.picture import NotAPicture


def frames_file(path: Path, frames: int, seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 1000, (frames, 6, 5), np.uint16)
    ds = dicom_files.slice_of(seed, pixels[0], NumberOfFrames=frames)
    ds.PixelData = pixels.tobytes()
    dicom_files.save(ds, path)
    return pixels


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are opened, in order."""
    names: list[str] = []
    open_pictures = module.open_pictures

    def named(path: Path) -> Any:
        names.append(path.name)
        return open_pictures(path)

    monkeypatch.setattr(module, "open_pictures", named)
    return names


def all_read(ahead: Ahead) -> None:
    wait_until(lambda: not ahead._thread.is_alive())


def test_files_are_opened_once_and_decoded_once(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = {f"{k}.dcm": frames_file(tmp_path / f"{k}.dcm", 3, k) for k in range(2)}
    decoded, picture = [], DicomPictures.picture

    def counted(self: DicomPictures, frame: int) -> Any:
        if self.frame_bytes:  # it has been checked; before, it calls itself
            decoded.append(frame)
        return picture(self, frame)

    monkeypatch.setattr(DicomPictures, "picture", counted)
    with Ahead(tmp_path) as ahead:
        all_read(ahead)
        for name, values in pixels.items():
            assert ahead.open(tmp_path / name, keep=True) is ahead.open(tmp_path / name)
            again = ahead.open(tmp_path / name)  # it was taken already
            again.check()
            assert again.facts.frames == 3
            np.testing.assert_array_equal(again.picture(2).stored, values[2])  # type: ignore[attr-defined]
    assert opened == ["0.dcm", "1.dcm", "0.dcm", "1.dcm"]
    assert sorted(decoded) == [0, 0, 1, 1, 2, 2, 2, 2]


def test_what_it_gives_is_what_is_in_the_file(tmp_path: Path) -> None:
    pixels = frames_file(tmp_path / "a.dcm", 4)
    with Ahead(tmp_path / "a.dcm") as ahead:
        all_read(ahead)
        pictures = ahead.open(tmp_path / "a.dcm")
        pictures.check()
        for frame, values in enumerate(pixels):
            np.testing.assert_array_equal(pictures.picture(frame).stored, values)  # type: ignore[attr-defined]
        assert len(pictures.sha256) == 64
        with pytest.raises(NotAPicture, match="Modality"):
            pictures.check([SelectRule("Modality", ("XX",))])


def test_a_picture_that_is_being_decoded_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = frames_file(tmp_path / "a.dcm", 2)
    go, began, decoded, picture = threading.Event(), threading.Event(), [], DicomPictures.picture

    def late(self: DicomPictures, frame: int) -> Any:
        decoded.append(frame)
        if threading.current_thread().name == "ahead":
            began.set()
            assert go.wait(60)
        return picture(self, frame)

    monkeypatch.setattr(DicomPictures, "picture", late)
    with Ahead(tmp_path) as ahead:
        assert began.wait(60)
        ahead.stop()
        pictures = ahead.open(tmp_path / "a.dcm")
        pictures.check()
        np.testing.assert_array_equal(pictures.picture(1).stored, pixels[1])  # type: ignore[attr-defined]
        go.set()
        np.testing.assert_array_equal(pictures.picture(0).stored, pixels[0])  # type: ignore[attr-defined]
    assert decoded == [0, 1]


def test_errors_are_raised_where_the_file_is_used(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"nothing")
    ds = dicom_files.slice_of(0, np.zeros((6, 5), np.uint16))
    ds.PixelData = ds.PixelData[:20]
    dicom_files.save(ds, tmp_path / "b.dcm")
    with Ahead(tmp_path) as ahead:
        all_read(ahead)
        with pytest.raises(InputError, match="holds none"):
            ahead.open(tmp_path / "a.dcm")
        pictures = ahead.open(tmp_path / "b.dcm")
        with pytest.raises(InputError, match="cut short"):
            pictures.check()
        with pytest.raises(InputError, match="cut short"):
            pictures.picture(0)
    with Ahead(tmp_path / "missing"):
        pass


def test_its_memory_is_limited(tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(9):
        frames_file(tmp_path / f"{k}.dcm", 1, k)
    size = (tmp_path / "0.dcm").stat().st_size
    monkeypatch.setattr(module, "MOST_BYTES", 3 * size)
    with Ahead(tmp_path) as ahead:
        all_read(ahead)
    assert len(opened) in (3, 4)


def test_the_interpreter_is_left_as_it_was(tmp_path: Path) -> None:
    before = sys.getswitchinterval()
    with Ahead(tmp_path):
        assert sys.getswitchinterval() < before
    assert sys.getswitchinterval() == before


def test_a_file_that_was_written_meanwhile_is_read_again(tmp_path: Path, opened: list[str]) -> None:
    frames_file(tmp_path / "a.dcm", 1, 0)
    with Ahead(tmp_path) as ahead:
        all_read(ahead)
        later = frames_file(tmp_path / "a.dcm", 2, 1)
        pictures = ahead.open(tmp_path / "a.dcm")
        assert opened == ["a.dcm", "a.dcm"]
        assert pictures.facts.frames == len(later)


def test_files_with_results_are_not_read_ahead(
    archive: Path, run: Any, tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(archive)
    opened.clear()
    (archive / "b/1.dcm").touch()  # it may have been written
    frames_file(archive / "b/new.dcm", 1)
    database = tmp_path / "out/results.db"

    def read_again(path: Path | None) -> list[str]:
        opened.clear()
        with Ahead(archive, path) as ahead:
            all_read(ahead)
        return list(opened)

    assert read_again(database) == ["1.dcm", "new.dcm"]
    assert read_again(None) == ["1.dcm", "2.dcm", "1.dcm", "new.dcm"]
    assert read_again(tmp_path / "no/results.db") == ["1.dcm", "2.dcm", "1.dcm", "new.dcm"]
    monkeypatch.setattr(module, "MOST_DONE", 1)
    assert read_again(database) == [], "the archive is searched by the run"
    monkeypatch.setattr(module, "MOST_DONE", 1000)
    monkeypatch.setattr(ResultsDatabase, "known", lambda self, folder: self.db.execute("SELECT * FROM none"))
    assert read_again(database) == [], "the run says that it cannot be read"
    for ending in ("", "-journal"):
        broken = tmp_path / "broken.db"
        broken.with_name(f"broken.db{ending}").write_bytes(b"no database")
        assert read_again(broken) == []
