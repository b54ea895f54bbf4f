"""Who holds an output folder, across process namespaces and machines, and how a holder notices its loss."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
import SimpleITK as sitk
from support.lock_files import ELSEWHERE, beating_lock, living_owner, write_lock

from itk_infer.errors import ConfigError, InterruptedRunError, LockLostError
from itk_infer.files import lock_ticket
from itk_infer.files.lock_owner import read_owner, this_process
from itk_infer.run import heartbeat
from itk_infer.run import lock as lock_module
from itk_infer.run.ledger import NAME as LEDGER
from itk_infer.run.ledger import Ledger
from itk_infer.run.lock import NAME, FolderLock, at_work
from itk_infer.run.shard import Shard
from itk_infer.system import boot_id, process_namespace, process_start
from itk_infer.testing.faulty import wait_until

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def impatient(monkeypatch):
    """Heartbeats every 20 ms, stale after half a second."""
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.02)
    monkeypatch.setattr(heartbeat, "POLL_S", 0.02)
    monkeypatch.setattr(lock_module, "STALE_S", 0.5)


def told_by(folder):
    """A lock in the folder that is taken and released, and what was told meanwhile."""
    told: list[str] = []
    with FolderLock(folder, tell=told.append) as lock:
        return lock, told


def sleeper():
    """A process that only lives."""
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])


# --- the same machine and namespace: the process decides, at once --------------------------------------


@linux
def test_a_living_process_of_this_namespace_is_believed_at_once(tmp_path):
    content = write_lock(tmp_path / NAME)
    told: list[str] = []
    with pytest.raises(ConfigError, match=f"process {os.getppid()} on"), FolderLock(tmp_path, tell=told.append):
        pass
    assert told == []
    assert (tmp_path / NAME).read_bytes() == content


@linux
@pytest.mark.parametrize("end", ["reaped", "zombie"])
def test_a_killed_process_of_this_namespace_is_gone_at_once(tmp_path, end):
    process = sleeper()
    write_lock(tmp_path / NAME, pid=process.pid, start=process_start(process.pid))
    process.kill()
    if end == "reaped":
        process.wait()
    else:
        wait_until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
    lock, told = told_by(tmp_path)
    assert (lock.took_over, told, list(tmp_path.iterdir())) == (True, [], [])
    process.wait()


@linux
def test_a_stopped_process_lives(tmp_path):
    process = sleeper()
    write_lock(tmp_path / NAME, pid=process.pid, start=process_start(process.pid))
    process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(ConfigError, match=f"process {process.pid} on"), FolderLock(tmp_path):
            pass
    finally:
        process.kill()
        process.wait()


@linux
def test_a_later_process_of_the_same_number_is_another(tmp_path):
    write_lock(tmp_path / NAME, pid=os.getppid(), start=1)
    lock, told = told_by(tmp_path)
    assert (lock.took_over, told) == (True, [])


def test_two_locks_of_one_process_exclude_each_other(tmp_path, impatient):
    with FolderLock(tmp_path):
        with pytest.raises(ConfigError, match=f"process {os.getpid()} on"), FolderLock(tmp_path):
            pass
        assert (tmp_path / NAME).exists()
    assert not (tmp_path / NAME).exists()


# --- elsewhere: only the heartbeat decides --------------------------------------------------------------


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
@pytest.mark.parametrize("pid", ["living", "missing"])
@pytest.mark.parametrize("mtime", [0, 2**31], ids=["a clock in the past", "a clock in the future"])
def test_a_beating_heart_elsewhere_is_never_robbed(tmp_path, impatient, monkeypatch, elsewhere, pid, mtime):
    monkeypatch.setattr(lock_module, "STALE_S", 60.0)  # the first beat ends the watch
    changes = {**ELSEWHERE[elsewhere], **({"pid": 2**22 + 1, "start": 1} if pid == "missing" else {})}
    write_lock(tmp_path / NAME, **changes)
    os.utime(tmp_path / NAME, (mtime, mtime))
    line = (tmp_path / NAME).read_bytes().splitlines()[0]
    told: list[str] = []
    with (
        beating_lock(tmp_path / NAME),
        pytest.raises(ConfigError, match="another run is writing there"),
        FolderLock(tmp_path, tell=told.append),
    ):
        pass
    assert "watching for a sign of life" in told[0]
    assert (tmp_path / NAME).read_bytes().splitlines()[0] == line


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
@pytest.mark.parametrize("mtime", [0, 2**31], ids=["a clock in the past", "a clock in the future"])
def test_a_heart_that_stands_still_elsewhere_is_taken_over(tmp_path, impatient, elsewhere, mtime):
    write_lock(tmp_path / NAME, **ELSEWHERE[elsewhere])
    os.utime(tmp_path / NAME, (mtime, mtime))
    lock, told = told_by(tmp_path)
    assert lock.took_over
    assert len(told) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("torn", ["", '{"host": "a', "[]", "null", '{"pid": true}'])
def test_a_torn_lock_counts_by_its_heartbeat(tmp_path, impatient, torn):
    (tmp_path / NAME).write_text(torn)
    lock, told = told_by(tmp_path)
    assert lock.took_over
    assert "an unknown host" in told[0]


def test_a_lock_released_meanwhile_is_not_taken_over(tmp_path, impatient):
    write_lock(tmp_path / NAME, **ELSEWHERE["another host"])
    with FolderLock(tmp_path, tell=lambda words: (tmp_path / NAME).unlink()) as lock:
        assert not lock.took_over


def test_waiting_can_be_stopped(tmp_path):
    write_lock(tmp_path / NAME, **ELSEWHERE["another host"])

    def check():
        raise InterruptedRunError(signal.SIGINT)

    with pytest.raises(InterruptedRunError), FolderLock(tmp_path, check=check):
        pass
    assert (tmp_path / NAME).exists()


@linux
def test_of_two_that_watched_a_stale_lock_the_slower_is_refused(tmp_path, impatient, monkeypatch):
    write_lock(tmp_path / NAME, **ELSEWHERE["another host"])

    def another_was_faster(*args):
        write_lock(tmp_path / NAME)
        return []

    monkeypatch.setattr(lock_module, "beating", another_was_faster)
    with pytest.raises(ConfigError, match="another run is writing there"), FolderLock(tmp_path):
        pass
    assert read_owner(tmp_path / NAME).pid == os.getppid()


def test_a_lock_that_changed_in_the_very_last_moment_is_put_back(tmp_path, monkeypatch):
    content = write_lock(tmp_path / NAME)
    stale = living_owner()
    answers = iter([stale])  # then as it is
    monkeypatch.setattr(lock_module, "read_owner", lambda path: next(answers, None) or read_owner(path))
    lock = FolderLock(tmp_path)
    lock._set_aside(tmp_path / NAME, stale)
    assert not lock.took_over
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert (tmp_path / NAME).read_bytes() == content


def test_time_in_which_the_watcher_stood_still_does_not_count(tmp_path, monkeypatch):
    write_lock(tmp_path / NAME)
    monkeypatch.setattr(heartbeat, "POLL_S", 0.01)
    clock = iter(range(0, 10**6, 1000))  # every look at the clock, a thousand seconds have passed
    looks = []
    # Of this module alone: other threads of this process look at the clock, too.
    monkeypatch.setattr(heartbeat, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=time.sleep))
    assert heartbeat.beating([tmp_path / NAME], 0.5, lambda: looks.append(1)) == []
    assert len(looks) == 25


def test_stale_locks_of_other_divisions_are_watched_together(tmp_path, impatient):
    for number in (1, 2, 3):
        write_lock(tmp_path / f"itk_infer.shard-{number}-of-3.lock", **ELSEWHERE["another host"])
    lock, told = told_by(tmp_path)
    assert (lock.took_over, len(told), list(tmp_path.iterdir())) == (True, 1, [])


def test_a_shard_waits_for_no_shard_of_its_own_division(tmp_path):
    write_lock(tmp_path / "itk_infer.shard-1-of-2.lock", **ELSEWHERE["another host"])
    told: list[str] = []
    with FolderLock(tmp_path, Shard(2, 2), tell=told.append) as lock:
        assert (len(lock.others()), told) == (1, [])


# --- the holder -------------------------------------------------------------------------------------------


def test_a_lock_says_whose_it_is(tmp_path):
    with FolderLock(tmp_path):
        owner = read_owner(tmp_path / NAME)
    assert (owner.pid, owner.host) == (os.getpid(), __import__("socket").gethostname())
    if sys.platform == "linux":
        assert owner.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip() == boot_id()
        assert str(Path("/proc/self/ns/pid").readlink()) in owner.namespace
        ticks = Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(")")[2].split()[19]
        assert owner.start == int(ticks)
        assert owner.namespace == process_namespace()
    assert this_process().token != owner.token


def test_the_heart_beats_while_the_main_thread_is_in_native_code(tmp_path, impatient, monkeypatch):
    change, beats = heartbeat._change, []
    monkeypatch.setattr(heartbeat, "_change", lambda *args: (beats.append(args), change(*args)))
    image = sitk.Image(120, 120, 120, sitk.sitkFloat32)
    with FolderLock(tmp_path):
        before = (tmp_path / NAME).read_bytes()
        for _ in range(100):
            already = len(beats)
            sitk.DiscreteGaussian(image, 4.0)  # one call of native code
            if len(beats) > already + 1:
                break
        else:
            pytest.fail("no heart beat within a call")
        assert (tmp_path / NAME).read_bytes()[:-1] == before[:-1]


@pytest.mark.parametrize("lost", ["write", "utime"])
def test_one_sign_of_life_is_enough(tmp_path, impatient, monkeypatch, lost):
    def refuse(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, lost, refuse)
    with FolderLock(tmp_path):
        assert heartbeat.beating([tmp_path / NAME], 20) == [tmp_path / NAME]


@pytest.mark.parametrize("how", ["taken over", "removed", "folder removed"])
def test_a_holder_notices_its_loss(tmp_path, impatient, how):
    folder = tmp_path / "masks"
    folder.mkdir()
    with FolderLock(folder) as lock:
        lock.verify()
        if how == "taken over":
            theirs = write_lock(folder / NAME, host="elsewhere")
        else:
            (folder / NAME).unlink()
        if how == "folder removed":
            folder.rmdir()
        with pytest.raises(LockLostError, match=f"elsewhere has {how}|{NAME} was {how}|output folder was removed"):
            lock.ticket.verify()
        wait_until(lambda: lock._heartbeat.lost is not None)
        with pytest.raises(LockLostError):
            lock.raise_if_lost()
    if how == "taken over":
        assert (folder / NAME).read_bytes() == theirs
    assert LockLostError.exit_code == 2


def test_a_lock_moved_aside_by_mistake_and_put_back_is_not_lost(tmp_path, monkeypatch):
    with FolderLock(tmp_path) as lock:
        (tmp_path / NAME).rename(tmp_path / "aside")
        back = SimpleNamespace(sleep=lambda seconds: (tmp_path / "aside").rename(tmp_path / NAME))
        monkeypatch.setattr(lock_ticket, "time", back)
        lock.verify()


def test_a_lock_that_cannot_be_read_is_not_lost(tmp_path, monkeypatch):
    with FolderLock(tmp_path) as lock, monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda *args, **kwargs: (_ for _ in ()).throw(OSError(5, "I/O error")))
        lock.verify()


def test_a_ledger_is_not_changed_where_the_folder_is_lost_just_before(tmp_path):
    """As by a process that stands still between its look at the lock and its transaction."""

    def lost_once_the_ledger_is_locked():
        try:
            with closing(sqlite3.connect(tmp_path / LEDGER, timeout=0)) as other:
                other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            raise LockLostError("another run has the folder") from None

    with closing(Ledger(tmp_path)):
        pass
    with closing(Ledger(tmp_path, verify=lost_once_the_ledger_is_locked)) as ledger:
        with pytest.raises(LockLostError):
            ledger.begin_run("late", {})
        assert not ledger.runs()


# --- status -------------------------------------------------------------------------------------------------


def test_who_is_at_work(tmp_path, impatient):
    write_lock(tmp_path / "itk_infer.shard-1-of-3.lock", **ELSEWHERE["another host"])
    write_lock(tmp_path / "itk_infer.shard-2-of-3.lock", **ELSEWHERE["another namespace"])
    with beating_lock(tmp_path / "itk_infer.shard-1-of-3.lock"):
        assert [owner.host for owner in at_work(tmp_path, 2.0)] == ["elsewhere"]
    assert living_owner().pid == os.getppid()
