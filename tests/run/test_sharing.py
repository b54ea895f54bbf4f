"""One output folder for a group: what is written follows the umask, and a refusal says who may do what."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing

import pytest

from itk_infer.errors import ConfigError
from itk_infer.events import CaseStarted
from itk_infer.files.intent import intent_path, is_intended, write_intent
from itk_infer.run import ledger_file
from itk_infer.run.ledger import Ledger
from itk_infer.run.lock import NAME as LOCK
from itk_infer.system import ownership

pytestmark = pytest.mark.skipif(os.name != "posix", reason="file modes of POSIX")


@pytest.fixture(params=[0o022, 0o002, 0o077], ids=["umask 022", "umask 002", "umask 077"])
def umask(request):
    former = os.umask(request.param)
    yield request.param
    os.umask(former)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_everything_follows_the_umask(folder, umask):
    folder.scan("x/a.mha")
    modes = {}

    def look(event):
        if isinstance(event, CaseStarted):
            modes["lock"] = mode(folder.output / LOCK)

    folder.run(recursive=True, save_logits=True, save_conf=True, on_event=look)
    db = sqlite3.connect(folder.output / "itk_infer.db")
    db.execute("UPDATE cases SET attempts = attempts + 1")
    modes["journal"] = mode(folder.output / "itk_infer.db-journal")
    db.rollback()
    db.close()
    write_intent(folder.output / "labels.csv", folder.output / "labels.csv")
    modes["claim"] = mode(intent_path(folder.output / "labels.csv"))
    assert modes == dict.fromkeys(("lock", "journal", "claim"), 0o666 & ~umask)
    found = list(folder.output.rglob("*"))
    assert {"itk_infer.db", "confidences.xlsx", "labels.csv", "a.mha", "zarr.json"} <= {
        path.name for path in found
    }
    wrong = [
        (path.name, oct(mode(path)))
        for path in found
        if mode(path) & 0o777 != (0o777 if path.is_dir() else 0o666) & ~umask
    ]
    assert wrong == []


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root to give a folder to a group"
)
def test_everything_belongs_to_the_group_of_the_folder(folder):
    folder.scan("x/a.mha")
    folder.output.mkdir()
    os.chown(folder.output, -1, 65534)
    folder.output.chmod(0o2775)
    folder.run(recursive=True, save_logits=True, save_conf=True)
    groups = {path.stat().st_gid for path in folder.output.rglob("*")}
    assert groups == {65534}
    assert all(mode(path) & stat.S_ISGID for path in folder.output.rglob("*") if path.is_dir())


def test_a_ledger_that_may_not_be_written_is_refused_before_anything_is_computed(folder, monkeypatch):
    folder.scan("a.mha")
    folder.run()
    folder.scan("b.mha")
    (folder.output / "itk_infer.db").chmod(0o444)
    if os.geteuid() == 0:  # who may write everything
        monkeypatch.setattr(ledger_file.os, "access", lambda path, kind: False)
    with pytest.raises(ConfigError, match=r"itk_infer\.db: .* may not write it") as caught:
        folder.run()
    assert "mode -r--r--r--" in str(caught.value)
    assert "chmod g+w" in str(caught.value)
    assert folder.of(CaseStarted) == []
    assert not (folder.output / LOCK).exists()


def test_a_ledger_that_turns_read_only_is_told_as_such(tmp_path):
    ledger = Ledger(tmp_path)
    ledger._db.execute("PRAGMA query_only = 1")
    with pytest.raises(sqlite3.OperationalError) as caught:
        ledger.begin_run("r", {})
    ledger.close()
    fault = str(ledger_file.ledger_fault(tmp_path / "itk_infer.db", caught.value))
    assert "chmod g+w" in fault
    assert "free some space" not in fault
    assert "free some space" in str(ledger_file.ledger_fault(tmp_path, sqlite3.OperationalError("disk full")))


def test_a_ledger_that_another_shard_has_only_just_made_is_read_as_empty(tmp_path):
    """Between its creation and its first commit it has no tables, and a reader cannot make them."""
    ledger_file.make_writable(tmp_path / "itk_infer.db")
    with closing(Ledger(tmp_path, read_only=True)) as ledger:
        assert ledger.cases() == {}
    assert (tmp_path / "itk_infer.db").stat().st_size == 0


def test_ownership_is_what_ls_shows(tmp_path):
    tmp_path.chmod(0o2750)
    words = ownership(tmp_path)
    assert words == f"{tmp_path.owner()}, group {tmp_path.group()}, mode drwxr-s---"
    assert ownership(tmp_path / "missing") == ""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write into any folder")
def test_a_folder_that_may_not_be_written_is_said_with_the_remedy(folder):
    folder.scan("a.mha")
    folder.output.mkdir(mode=0o555)
    with pytest.raises(ConfigError, match="mode dr-xr-xr-x.*choose another output folder"):
        folder.run()


def test_the_claim_of_another_user_is_replaced(tmp_path):
    """A note that a colleague's killed run left can be deleted by the group, and not be written."""
    final = tmp_path / "a"
    final.touch()
    intent_path(final).write_text("theirs")
    inode = intent_path(final).stat().st_ino
    other = tmp_path / "holds the inode"
    os.link(intent_path(final), other)
    write_intent(final, final)
    assert is_intended(final)
    assert intent_path(final).stat().st_ino != inode
    assert other.read_text() == "theirs"
