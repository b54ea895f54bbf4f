"""Real runs that contend for one folder: in containers of their own, stopped, killed, robbed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from support import child_environment
from support.lock_files import ELSEWHERE, write_lock
from support.programs import start, wait_for

from itk_infer.errors import ConfigError
from itk_infer.files.lock_owner import read_owner
from itk_infer.run import heartbeat, lock
from itk_infer.run.ledger import NAME as LEDGER
from itk_infer.run.lock import NAME as LOCK
from itk_infer.testing.faulty import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="stops processes, and reads /proc")
CONTAINER = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
BRISK = """
from itk_infer.run import heartbeat
from itk_infer.run import lock
heartbeat.BEAT_S, heartbeat.POLL_S, lock.STALE_S = 0.1, 0.05, 2.0
"""


@pytest.fixture
def container():
    """Words before a command that give it process ids of its own, and the host name of this machine."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")
    if subprocess.run([*CONTAINER, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs root to make a process namespace")
    return CONTAINER


def start_in(container, batch):
    """A run in a container, with brisk heartbeats; its program is that of `start`."""
    with start(batch) as known:  # writes the program
        known.kill()
        known.stdout.read()
    shutil.rmtree(batch.output, ignore_errors=True)
    script = batch.folder / "program.py"
    script.write_text(BRISK + script.read_text())
    return again_in(container, batch)


def again_in(container, batch):
    return subprocess.Popen(
        [*container, sys.executable, "program.py"],
        cwd=batch.folder,
        env=child_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def scans(batch, count=4):
    """The last one waits until the test lets it go on."""
    names = [f"{index}.mha" for index in range(count)]
    return {name: batch.scan(name, "gate" if name == names[-1] else "", seed) for seed, name in enumerate(names)}


def let_go(batch):
    (batch.scratch / "go").touch()


@contextmanager
def killed_in_the_end(program):
    """A program that was stopped would be waited for in vain where the test fails."""
    try:
        yield
    finally:
        program.kill()


def stop_between_transactions(program, ledger):
    """Stop a program while it has no lock of its ledger, which nobody could take over from it."""
    while True:
        program.send_signal(signal.SIGSTOP)
        os.waitpid(program.pid, os.WUNTRACED)
        with closing(sqlite3.connect(ledger, timeout=0)) as database:
            try:
                database.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError:
                program.send_signal(signal.SIGCONT)
                time.sleep(0.01)


def all_right(batch, arrays):
    for name, array in arrays.items():
        np.testing.assert_array_equal(batch.labels(name), array > 0)
    assert set(batch.states().values()) == {"done"}
    assert not batch.leftovers()


def test_of_two_containers_of_one_host_name_the_second_is_refused(batch, container):
    arrays = scans(batch)
    with start_in(container, batch) as first:
        wait_for(first, "case_started")
        with again_in(container, batch) as second:
            events = [json.loads(line) for line in second.stdout]
            assert second.wait(60) == 2
        assert [event["event"] for event in events] == ["warning"]
        assert "watching for a sign of life" in events[0]["message"]
        let_go(batch)
        first.stdout.read()
        assert first.wait(60) == 0
    all_right(batch, arrays)


def test_the_lock_of_a_killed_container_is_taken_over(batch, container):
    arrays = scans(batch)
    with start_in(container, batch) as first:
        wait_for(first, "case_started")
        first.kill()
        first.stdout.read()
    assert (batch.output / LOCK).exists()
    let_go(batch)
    with again_in(container, batch) as second:
        second.stdout.read()
        assert second.wait(60) == 0
    all_right(batch, arrays)


def test_a_stopped_run_of_this_namespace_keeps_its_folder(batch):
    arrays = scans(batch)
    with start(batch) as first:
        wait_for(first, "case_started")
        first.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(ConfigError, match=f"process {first.pid} on"):
                batch.run(0)
        finally:
            first.send_signal(signal.SIGCONT)
        let_go(batch)
        first.stdout.read()
        assert first.wait(60) == 0
    all_right(batch, arrays)


def test_a_run_that_stood_still_elsewhere_is_taken_over_and_notices(batch, monkeypatch):
    """As a paused container: it wakes up when another run has done its work."""
    monkeypatch.setattr(lock, "STALE_S", 1.0)
    monkeypatch.setattr(heartbeat, "POLL_S", 0.05)
    arrays = scans(batch)
    with start(batch) as first, killed_in_the_end(first):
        wait_for(first, "case_done")
        stop_between_transactions(first, batch.output / LEDGER)
        # To this test, it seems to be in another container.
        owner = read_owner(batch.output / LOCK)
        line = json.loads((batch.output / LOCK).read_bytes().splitlines()[0])
        (batch.output / LOCK).write_text(json.dumps({**line, **ELSEWHERE["another namespace"]}) + "\n0")
        let_go(batch)
        done = batch.run(0)
        assert done.exit_code == 0
        assert done.done
        assert owner.pid == first.pid
        before = batch.voxels(), ledger_of(batch)
        with Taken(batch.output / LOCK):  # by a third run, which is at work
            first.send_signal(signal.SIGCONT)
            events = [json.loads(line) for line in first.stdout]
            assert first.wait(60) == 2
        assert events[-1]["exit_code"] == 2
    assert (batch.voxels(), ledger_of(batch)) == before
    all_right(batch, arrays)


def test_a_run_whose_lock_is_deleted_stops_between_two_windows(batch, monkeypatch):
    """The case at work would never end; the next heartbeat ends the run."""
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.1)
    batch.scan("a.mha", "hang")
    stolen = threading.Event()

    def steal(event):
        if not stolen.is_set() and (batch.output / LOCK).exists() and batch.states():
            stolen.set()
            (batch.output / LOCK).unlink()

    summary = batch.run(1, on_event=steal)
    assert stolen.is_set()
    assert (summary.exit_code, summary.done) == (2, [])
    assert "itk_infer.lock was removed" in summary.problem
    assert batch.states() == {"a.mha": "running"}
    assert not (batch.output / "a.mha").exists()
    assert not (batch.output / "labels.csv").exists()


class Taken:
    """A lock of another run, while entered."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        write_lock(self.path, host="elsewhere")

    def __exit__(self, *error: object) -> None:
        self.path.unlink()


def ledger_of(batch) -> list:
    with sqlite3.connect(batch.output / "itk_infer.db") as db:
        rows = [
            db.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in ("runs", "cases", "outputs")
        ]
    db.close()
    return rows


def test_waiting_for_a_lock_is_ended_by_a_signal(batch):
    scans(batch, 1)
    batch.output.mkdir()
    write_lock(batch.output / LOCK, **ELSEWHERE["another host"])
    with start(batch) as program:
        wait_for(program, "warning")
        program.send_signal(signal.SIGTERM)
        program.stdout.read()
        assert program.wait(300) == 143
    assert (batch.output / LOCK).exists()
    wait_until(lambda: not list(batch.output.glob("*.db")))
