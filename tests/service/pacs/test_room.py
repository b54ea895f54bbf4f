"""A full disk: nothing is lost, nothing fails, and the node goes on when there is room."""

from __future__ import annotations

import errno
import sqlite3
from collections import namedtuple
from contextlib import closing

import pytest
from support.nodes import full_database, node, run_once, settings, spooled

from itk_infer.errors import OutputError
from itk_infer.service.jobs import JobQueue
from itk_infer.service.pacs import room as room_module
from itk_infer.service.pacs import study_run
from itk_infer.service.pacs.node import Node
from itk_infer.service.pacs.room import LEAST, Room, is_full, says_full
from itk_infer.service.pacs.studies import Studies
from itk_infer.service.pacs.transaction import transaction
from itk_infer.service.pacs.troubles import Troubles
from itk_infer.testing.faulty import wait_until

LISTEN = "NODE@127.0.0.1:0"
Usage = namedtuple("Usage", "free")


class Disk:
    """Stands in the place of the disk of a home."""

    def __init__(self, monkeypatch, free, growth=0):
        self.free, self.growth = free, growth
        monkeypatch.setattr(room_module.shutil, "disk_usage", self.usage)

    def usage(self, path):
        self.free += self.growth
        return Usage(self.free)


def test_what_a_full_disk_raises():
    """By SQLite itself, in a database that may not grow; SQLite has then rolled back already."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        database.execute("CREATE TABLE t (x)")
        database.execute("PRAGMA max_page_count = 3")
        with pytest.raises(sqlite3.OperationalError) as caught, transaction(database, _Unlocked()):
            database.execute("INSERT INTO t VALUES (zeroblob(100000))")
        assert is_full(caught.value)
        assert says_full(str(caught.value))
        with transaction(database, _Unlocked()):
            database.execute("INSERT INTO t VALUES (1)")
    assert is_full(full_database())
    assert is_full(OSError(errno.EDQUOT, ""))
    assert not is_full(OSError(errno.EIO, ""))
    assert not is_full(sqlite3.OperationalError("database is locked"))


class _Unlocked:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def test_after_the_disk_was_full_there_must_be_more_room(monkeypatch, tmp_path):
    said = []
    disk, room = Disk(monkeypatch, 10 * LEAST), Room(tmp_path, 5 * LEAST, Troubles(said.append))
    assert room.is_there()
    room.was_full()
    assert not room.is_there()
    disk.free += LEAST - 1
    assert not room.is_there()
    disk.free += 1
    assert room.is_there()
    disk.free = 5 * LEAST
    assert room.is_there()
    assert said == [
        "the disk: is nearly full: nothing is computed until there is room; tried again",
        "the disk: works again",
    ]


def test_something_must_be_free_whatever_the_settings_say(monkeypatch, tmp_path):
    Disk(monkeypatch, LEAST - 1)
    assert not Room(tmp_path, 0, Troubles(lambda words: None)).is_there()


@pytest.mark.parametrize("end", ["reason", "error"])
def test_a_study_that_filled_the_disk_is_computed_when_there_is_room(tmp_path, monkeypatch, end):
    home = spooled(tmp_path / "home", tmp_path / "in")
    disk, compute, tried = Disk(monkeypatch, 100 * LEAST), study_run.StudyRun.compute, []

    def filling(self, executor):
        tried.append(self)
        if len(tried) > 1:
            return compute(self, executor)
        if end == "error":
            raise full_database()
        return False, "x.nii.gz: cannot be written: the disk is full; free some space and run again", {}

    monkeypatch.setattr(study_run.StudyRun, "compute", filling)
    with node(home, listen=LISTEN) as running:
        wait_until(lambda: any("nearly full" in words for words in running.said))
        assert running.queue.counts()["failed"] == running.queue.counts()["done"] == 0
        assert len(tried) == 1
        disk.free *= 2
        wait_until(lambda: running.queue.counts()["done"] == 1)
    assert "the disk: works again" in running.said


@pytest.mark.parametrize(
    ("owner", "method"),
    [(JobQueue, "take"), (JobQueue, "finish"), (JobQueue, "add"), (Studies, "note"), (Studies, "settle")],
)
def test_no_thread_of_a_node_ends_because_the_disk_is_full(tmp_path, monkeypatch, owner, method):
    """Each change of a database fails for a while; whenever one looks, more of the disk is free."""
    home = spooled(tmp_path / "home", tmp_path / "in")
    Disk(monkeypatch, 100 * LEAST, growth=LEAST)
    original, failed = getattr(owner, method), []

    def at_first_full(self, *given, **named):
        if len(failed) < 3:
            failed.append(method)
            raise full_database()
        return original(self, *given, **named)

    monkeypatch.setattr(owner, method, at_first_full)
    with node(home, listen=LISTEN) as running:
        wait_until(lambda: running.queue.counts()["done"] == 1)
        wait_until(lambda: len(failed) == 3)


def test_once_ends_with_a_sentence(tmp_path, monkeypatch):
    home = spooled(tmp_path / "home", tmp_path / "in")

    def full(self, **facts):
        raise full_database()

    with monkeypatch.context() as patch:
        patch.setattr(Studies, "note", full)
        running = run_once_in_a_thread(home)
    assert isinstance(running.problem, OutputError)
    assert "the disk is full; free some space" in str(running.problem)
    assert run_once(home, listen=LISTEN).code == 0


def run_once_in_a_thread(home):
    with Node(settings(home, listen=LISTEN), lambda words: None) as running:
        running.work_once()
    return running
