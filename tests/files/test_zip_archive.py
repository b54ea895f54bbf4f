"""Zip archives whose directory is made to take long."""

from __future__ import annotations

import struct
import zipfile

import pytest

from itk_infer.errors import ModelError
from itk_infer.files.zip_archive import MAX_DIRECTORY, ZipArchive, reason_to_refuse
from itk_infer.model.kinds.torch_location import is_exported
from itk_infer.model.registry import kind_of

NAMES = [
    "x/code/a.py",
    "x/data.pkl",
    "x/models/model.json",
    "b/configs/metadata.json",
    "fold_0/checkpoint_final.pth",
]


def with_one_entry_many_times(path, name, directory=MAX_DIRECTORY):
    """An archive of one file whose directory names it until it has so many bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"x")
    content = path.read_bytes()
    end = content.rindex(b"PK\x05\x06")
    start = content.index(b"PK\x01\x02")
    entry = content[start:end]
    count = directory // len(entry) + 1
    tail = struct.pack(
        "<4s4H2LH", b"PK\x05\x06", 0, 0, count & 0xFFFF, count & 0xFFFF, count * len(entry), start, 0
    )
    path.write_bytes(content[:start] + entry * count + tail)
    return path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ending", [".pt", ".zip"])
def test_a_directory_that_is_too_large_is_not_read(tmp_path, name, ending):
    path = with_one_entry_many_times(tmp_path / f"model{ending}", name)
    assert zipfile.ZipFile(path).namelist()[-1] == name  # a valid archive
    with pytest.raises(ModelError, match=r"its directory has \d+ bytes"):
        kind_of(path)
    with pytest.raises(zipfile.BadZipFile, match="its directory has"):
        ZipArchive(path)
    assert not is_exported(path)


def test_entries_are_read_from_other_archives(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("large", bytes(MAX_DIRECTORY + 1))
        archive.writestr("packed", b"y" * 100, zipfile.ZIP_DEFLATED)
    with ZipArchive(path) as archive:
        assert len(archive.read("large")) == MAX_DIRECTORY + 1
        assert archive.read("packed") == b"y" * 100
        file = archive.fp
    assert file is None or file.closed
    assert reason_to_refuse(path) is None


def test_what_is_no_archive_has_no_reason(tmp_path):
    (tmp_path / "text").write_text("no archive")
    for path in (tmp_path, tmp_path / "text", tmp_path / "missing"):
        assert reason_to_refuse(path) is None
