"""Found batches outlive the run; whatever is wrong with the cache costs a search and a sentence."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from itk_infer.files.user_cache import kept_folder
from itk_infer.model.batch_size.cache import BatchCache, BatchKey, open_cache

KEY = BatchKey("digest", "a processor, 2 thread(s)", "openvino (openvino 1)", "fp32", (64, 64, 64), 1)

WRITE = """
import pickle, sys
from pathlib import Path
from itk_infer.model.batch_size.cache import BatchCache
cache = BatchCache(Path(sys.argv[1]))
key = pickle.loads(bytes.fromhex(sys.argv[2]))
for _ in range(300):
    cache.write(key, int(sys.argv[3]))
    cache.read(key)
torn = [note for note in cache.notes if "is not written by this program wrote" in note]
sys.exit(f"not whole: {torn}" if torn else 0)
"""


def test_what_was_written_is_read(tmp_path):
    cache = BatchCache(tmp_path / "made" / "for it")
    assert cache.read(KEY) is None
    cache.write(KEY, 4)
    cache.write(replace(KEY, patch=(32, 32, 32)), 16)
    assert BatchCache(cache.folder).read(KEY) == 4
    cache.write(KEY, 2)
    assert BatchCache(cache.folder).read(KEY) == 2
    assert cache.read(replace(KEY, patch=(32, 32, 32))) == 16
    assert cache.notes == []
    assert len(list(cache.folder.iterdir())) == 2  # nothing half-written is left


@pytest.mark.parametrize(
    "other",
    [
        {"model": "x"},
        {"device": "x"},
        {"provider": "x"},
        {"precision": "bf16"},
        {"patch": (8, 8, 8)},
        {"mirrorings": 8},
    ],
)
def test_everything_in_the_key_counts(tmp_path, other):
    cache = BatchCache(tmp_path)
    cache.write(KEY, 4)
    assert cache.read(replace(KEY, **other)) is None
    assert cache.notes == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"[]",
        b"{}",
        b'{"batch": 4}',
        json.dumps({"key": KEY.document(), "batch": 0}).encode(),
        json.dumps({"key": KEY.document(), "batch": True}).encode(),
        json.dumps({"key": KEY.document(), "batch": 1e9}).encode(),
        json.dumps({"key": KEY.document(), "batch": 10**9}).encode(),
        json.dumps({"key": replace(KEY, model="x").document(), "batch": 4}).encode(),
        json.dumps({"key": KEY.document(), "batch": 4}).encode()[:-9],
    ],
    ids=[
        "nothing",
        "no text",
        "a list",
        "an empty object",
        "no key",
        "none",
        "true",
        "a float",
        "too many",
        "another key",
        "cut short",
    ],
)
def test_a_file_that_is_not_ours_is_named_and_replaced(tmp_path, content):
    cache = BatchCache(tmp_path)
    cache.write(KEY, 4)
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    assert cache.read(KEY) is None
    assert len(cache.notes) == 1
    assert str(file) in cache.notes[0]
    cache.write(KEY, 8)
    assert BatchCache(tmp_path).read(KEY) == 8


def test_a_file_that_cannot_be_read_is_a_note(tmp_path):
    cache = BatchCache(tmp_path)
    cache.write(KEY, 4)
    (file,) = tmp_path.iterdir()
    file.unlink()
    file.mkdir()
    assert cache.read(KEY) is None
    assert "cannot be read" in cache.notes[0]
    cache.write(KEY, 4)
    assert "cannot be written" in cache.notes[1]
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_cannot_be_written_is_a_note(tmp_path):
    (tmp_path / "file").touch()
    cache = BatchCache(tmp_path / "file")
    assert cache.read(KEY) is None
    cache.notes.clear()
    cache.write(KEY, 4)
    assert "cannot be written" in cache.notes[0]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_a_note(tmp_path):
    tmp_path.chmod(0o500)
    cache = BatchCache(tmp_path)
    cache.write(KEY, 4)
    assert "cannot be written" in cache.notes[0]


def test_two_processes_at_once(tmp_path):
    key = pickle.dumps(KEY).hex()
    both = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE, str(tmp_path), key, str(batch)], stderr=subprocess.PIPE, text=True
        )
        for batch in (2, 4)
    ]
    for process in both:
        _, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
    assert BatchCache(tmp_path).read(KEY) in (2, 4)
    assert len(list(tmp_path.iterdir())) == 1


def test_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name, appauthor: tmp_path / name)
    assert open_cache(True).folder == tmp_path / "itk_infer"
    assert open_cache(tmp_path / "mine").folder == tmp_path / "mine"
    assert open_cache(False) is None


def test_a_user_without_a_home_gets_no_folder_of_that_name(tmp_path, monkeypatch):
    """Python leaves a ~ without a home as it is; it would become a folder "~" in the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name, appauthor: Path("~/.cache") / name)
    cache = open_cache(True)
    assert cache.read(KEY) is None
    cache.write(KEY, 4)
    assert cache.notes == ["batch cache: this user has no home folder; nothing was kept"]
    assert kept_folder("tensorrt") is None
    assert not list(tmp_path.iterdir())


def test_a_folder_of_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name, appauthor: tmp_path / name)
    assert kept_folder("tensorrt") == tmp_path / "itk_infer" / "tensorrt"
    assert kept_folder("tensorrt").is_dir()
    (tmp_path / "itk_infer" / "other").touch()
    assert kept_folder("other") is None
