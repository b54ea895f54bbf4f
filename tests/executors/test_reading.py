from __future__ import annotations

import threading
from contextlib import closing
from pathlib import PurePosixPath

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.case.case import Case
from itk_infer.errors import InputError
from itk_infer.executors import reading
from itk_infer.executors.reading import ReadAhead, read_case, reading_memory
from itk_infer.files.stamp import stamp_of

SIZE = (6, 7, 8)


@pytest.fixture
def reads(monkeypatch):
    """Names of the files that were read."""
    names, read_image = [], reading.read_image

    def read(path):
        names.append(path.name)
        return read_image(path)

    monkeypatch.setattr(reading, "read_image", read)
    return names


@pytest.fixture
def ahead():
    with closing(ReadAhead()) as found:
        yield found


def case_of(folder, *names):
    stem, _, suffix = names[0].partition(".")
    return Case(PurePosixPath("."), stem, f".{suffix}", tuple(folder.source / name for name in names))


def test_a_case_is_all_its_channels(folder):
    arrays = [folder.scan(f"a_000{index}.mha", index) for index in range(2)]
    found = read_case(case_of(folder, "a_0000.mha", "a_0001.mha"))
    np.testing.assert_array_equal(found.volume.array, arrays)
    assert [file.stamp for file in found.inputs] == [
        stamp_of(folder.source / f"a_000{index}.mha") for index in range(2)
    ]
    assert found.seconds > 0


@pytest.mark.parametrize("suffix", ["mha", "nii.gz", "nrrd"])
def test_memory_is_known_from_headers(folder, suffix):
    names = [f"a_000{index}.{suffix}" for index in range(2)]
    for name in names:
        folder.scan(name, size=SIZE)
    assert reading_memory(case_of(folder, *names)) == 2 * 2 * 2 * 6 * 7 * 8  # channels, int16, twice


def test_memory_of_what_cannot_be_read_is_not_known(folder):
    (folder.source / "a.mha").touch()
    assert reading_memory(case_of(folder, "a.mha")) is None
    assert reading_memory(case_of(folder, "b.mha")) is None


def test_what_was_read_ahead_is_not_read_again(folder, reads, ahead):
    array = folder.scan("a.mha")
    case = case_of(folder, "a.mha")
    ahead.start(case, None)
    np.testing.assert_array_equal(ahead.take(case).volume.array[0], array)
    assert reads == ["a.mha"]
    assert ahead.take(case) is None  # given away


def test_another_case_lets_go_of_it(folder, reads, ahead):
    folder.scan("a.mha")
    folder.scan("b.mha")
    a, b = case_of(folder, "a.mha"), case_of(folder, "b.mha")
    ahead.start(a, None)
    assert ahead.take(b) is None
    assert ahead.take(a) is None
    assert ahead.read(b).volume.name == "b.mha"
    assert reads == ["a.mha", "b.mha"]


@pytest.mark.parametrize(("room", "taken"), [(2 * 2 * 6 * 7 * 8, True), (2 * 2 * 6 * 7 * 8 - 1, False)])
def test_nothing_is_read_without_room(folder, reads, room, taken, ahead):
    folder.scan("a.mha", size=SIZE)
    case = case_of(folder, "a.mha")
    ahead.start(case, room)
    assert (ahead.take(case) is not None) == taken
    assert reads == ["a.mha"] * taken


def test_a_file_that_changed_or_went_is_not_what_was_read(folder, reads, ahead):
    folder.scan("a.mha")
    case = case_of(folder, "a.mha")
    ahead.start(case, None)
    ahead.read(case)  # the first one has come to its end
    folder.scan("a.mha", 1, size=(6, 7, 9))
    assert ahead.take(case) is None
    ahead.start(case, None)
    ahead.read(case)
    (folder.source / "a.mha").unlink()
    assert ahead.take(case) is None


def test_a_file_that_changes_while_it_is_read_ahead_is_not_kept(folder, monkeypatch, ahead):
    folder.scan("a.mha")
    read_image = reading.read_image

    def read(path):
        found = read_image(path)
        folder.scan("a.mha", 1, size=(6, 7, 9))
        return found

    case = case_of(folder, "a.mha")
    with monkeypatch.context() as patch:
        patch.setattr(reading, "read_image", read)
        ahead.start(case, None)
        assert ahead.take(case) is None


@pytest.mark.parametrize("error", [InputError("damaged"), MemoryError(), RuntimeError("odd")])
def test_a_failure_ahead_is_forgotten(folder, monkeypatch, error, ahead):
    def read(path):
        raise error

    folder.scan("a.mha")
    case = case_of(folder, "a.mha")
    with monkeypatch.context() as patch:
        patch.setattr(reading, "read_image", read)
        ahead.start(case, None)
        assert ahead.take(case) is None
        with pytest.raises(type(error)):
            ahead.read(case)
    assert ahead.read(case).volume.name == "a.mha"


def test_simpleitk_warns_again_after_readings_of_two_threads(folder, ahead):
    """Its switch belongs to the whole process; two readings at once could leave it off."""
    folder.scan("a.nii.gz")
    case = case_of(folder, "a.nii.gz")
    sitk.ProcessObject.SetGlobalWarningDisplay(True)
    for _ in range(20):
        ahead.start(case, None)
        ahead.read(case)
        assert sitk.ProcessObject.GetGlobalWarningDisplay()


def test_what_is_being_read_ends_with_it(folder, monkeypatch):
    """A thread that is left alone with an image goes on beside whatever comes next, in code that is not Python's."""
    folder.scan("a.mha")
    begun, ended, read_image = threading.Event(), threading.Event(), reading.read_image

    def read(path):
        begun.set()
        found = read_image(path)
        ended.set()
        return found

    monkeypatch.setattr(reading, "read_image", read)
    before = set(threading.enumerate())
    ahead = ReadAhead()
    ahead.start(case_of(folder, "a.mha"), None)
    begun.wait()
    ahead.close()
    assert ended.is_set()
    assert set(threading.enumerate()) <= before  # some that other tests have left may have ended
