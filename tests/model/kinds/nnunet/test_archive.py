"""A zip of a model folder: unpacked once, safely."""

from __future__ import annotations

import json
import stat
import zipfile
from pathlib import Path

import pytest
from support.nnunet_folder import DATASET, plans

from itk_infer.errors import ModelError
from itk_infer.model.kinds.nnunet import archive
from itk_infer.model.kinds.nnunet.archive import is_archive, unpacked
from itk_infer.model.kinds.nnunet.folder import is_nnunet, open_folder

FOLDER = "Dataset001_Small/nnUNetTrainer__nnUNetPlans__3d_fullres"
FILES = {
    f"{FOLDER}/plans.json": json.dumps(plans()),
    f"{FOLDER}/dataset.json": json.dumps(DATASET),
    f"{FOLDER}/fold_0/checkpoint_final.pth": "weights",
    f"{FOLDER}/fold_0/progress.png": "a picture",
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The user's cache folder of this test."""
    folder = tmp_path / "cache" / "nnunet"
    folder.mkdir(parents=True)
    monkeypatch.setattr(archive, "kept_folder", lambda name: folder)
    return folder


def packed(path: Path, files=FILES, compression=zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as target:
        for name, content in files.items():
            target.writestr(name, content)
    return path


def test_a_zip_is_unpacked_once_and_used_again(tmp_path, cache, monkeypatch):
    path = packed(tmp_path / "model.zip")
    assert is_nnunet(path)
    opened = open_folder(path)
    assert (opened.plans, opened.dataset) == (plans(), DATASET)
    assert opened.folds[0].checkpoint.read_text() == "weights"
    assert not list(cache.rglob("*.png"))  # what no model needs
    assert opened.notes[0].startswith("model.zip was unpacked into ")
    (folder,) = cache.iterdir()

    monkeypatch.setattr(archive, "_extract", lambda *_: pytest.fail("unpacked again"))
    assert unpacked(packed(tmp_path / "same.zip")) == folder
    assert [entry.name for entry in cache.iterdir()] == [folder.name]


def test_another_process_may_have_been_first(tmp_path, cache, monkeypatch):
    path = packed(tmp_path / "model.zip")
    extract = archive._extract

    def slow(opened, entry, folder):
        extract(opened, entry, folder)
        other = next(cache.glob(".partial-*")).parent / digest
        other.mkdir(exist_ok=True)
        (other / "whole").touch()

    digest = unpacked(path).name
    archive.shutil.rmtree(cache / digest)
    monkeypatch.setattr(archive, "_extract", slow)
    assert (unpacked(path) / "whole").exists()
    assert [entry.name for entry in cache.iterdir()] == [digest]


@pytest.mark.parametrize(
    "name",
    [
        "../fold_0/checkpoint_final.pth",
        f"{FOLDER}/../../../plans.json",
        "/fold_0/checkpoint_final.pth",
        "C:/fold_0/checkpoint_final.pth",
        "..\\fold_0\\x.json",
        "/etc/unneeded",
    ],
)
def test_entries_that_lead_elsewhere_are_refused(tmp_path, cache, name):
    path = packed(tmp_path / "model.zip", {**FILES, name: "evil"})
    with pytest.raises(ModelError, match="would be written outside its folder"):
        unpacked(path)
    assert not list(cache.iterdir())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["cache", "model.zip"]


def test_links_are_refused(tmp_path, cache):
    path = packed(tmp_path / "model.zip")
    link = zipfile.ZipInfo(f"{FOLDER}/fold_1")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as target:
        target.writestr(link, "/etc")
    with pytest.raises(ModelError, match="is a link"):
        unpacked(path)
    assert not list(cache.iterdir())


def test_zips_that_unpack_to_far_more_are_refused(tmp_path, cache, monkeypatch):
    path = packed(tmp_path / "model.zip", {**FILES, f"{FOLDER}/fold_1/checkpoint_final.pth": bytes(300 * 2**20)})
    with pytest.raises(ModelError, match="refused, because .* bytes would unpack to 3145"):
        unpacked(path)
    monkeypatch.setattr(archive, "MAX_BYTES", 1000)
    with pytest.raises(ModelError, match="would unpack to"):
        unpacked(packed(tmp_path / "small.zip", {**FILES, f"{FOLDER}/x.json": "0" * 1000}))
    monkeypatch.setattr(archive, "MAX_ENTRIES", 3)
    with pytest.raises(ModelError, match="holds 4 entries"):
        unpacked(packed(tmp_path / "many.zip"))
    assert not list(cache.iterdir())


def test_damaged_zips_are_said_in_a_sentence(tmp_path, cache):
    path = packed(tmp_path / "model.zip", compression=zipfile.ZIP_STORED)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"weights", b"WEIGHTS"))
    with pytest.raises(ModelError, match=r"model\.zip: cannot be unpacked \(Bad CRC-32.*download it again"):
        unpacked(path)
    assert not list(cache.iterdir())
    path.write_bytes(content[: len(content) // 2])
    assert not is_archive(path)
    assert not is_archive(packed(tmp_path / "other.zip", {"a.txt": "text"}))
    assert not is_archive(tmp_path / "absent.zip")


def test_no_room_and_no_cache(tmp_path, monkeypatch):
    path = packed(tmp_path / "model.zip")
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(ModelError, match=r"bytes unpacked, and .* has 10 left"):
        unpacked(path)
    monkeypatch.setattr(archive, "kept_folder", lambda name: None)
    with pytest.raises(ModelError, match="there is no cache folder to unpack it into"):
        unpacked(path)


def test_encrypted_zips_are_refused(tmp_path):
    content = packed(tmp_path / "model.zip", compression=zipfile.ZIP_STORED).read_bytes()
    directory = content.index(b"PK\x01\x02")
    marked = content[: directory + 8] + b"\x01" + content[directory + 9 :]  # of its first entry
    (tmp_path / "model.zip").write_bytes(marked)
    with pytest.raises(ModelError, match="is encrypted; unpack it and give the folder"):
        unpacked(tmp_path / "model.zip")


def test_headers_that_lie_about_sizes(tmp_path, cache):
    path = packed(tmp_path / "model.zip", {f"{FOLDER}/fold_0/checkpoint_final.pth": "weights" * 100})
    content = path.read_bytes()
    size = (700).to_bytes(4, "little")
    assert content.count(size) == 2
    for other in (699, 701):
        path.write_bytes(content.replace(size, other.to_bytes(4, "little")))
        with pytest.raises(ModelError, match=r"model\.zip: cannot be unpacked"):
            unpacked(path)
    assert not list(cache.iterdir())


def test_a_cache_that_cannot_be_written(tmp_path, cache, monkeypatch):
    path = packed(tmp_path / "model.zip")

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive.tempfile, "mkdtemp", fail)
    with pytest.raises(ModelError, match=r"cannot be unpacked into .*nnunet \(No space left on device\)"):
        unpacked(path)
    monkeypatch.undo()
    monkeypatch.setattr(archive, "kept_folder", lambda name: cache)
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(ModelError, match="No space left on device"):
        unpacked(path)
    assert not list(cache.iterdir())
