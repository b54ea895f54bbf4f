"""Two runs at once, torn files of a crash, strange clocks, and places where little is allowed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from support.lock_files import ELSEWHERE, beating_lock, write_lock
from support.programs import program, start, wait_for

from itk_infer.errors import ConfigError
from itk_infer.predictor import Predictor
from itk_infer.run import lock
from itk_infer.run.folder import run_folder
from itk_infer.run.lock import NAME as LOCK

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX only")


# --- two runs ---------------------------------------------------------------------------------------


def test_of_two_runs_at_once_one_works_and_one_is_refused_by_name(batch):
    arrays = {f"{index}.mha": batch.scan(f"{index}.mha", "" if index else "gate", index) for index in range(4)}
    with start(batch) as first:
        wait_for(first, "case_started")
        with pytest.raises(ConfigError, match=f"process {first.pid} on {socket.gethostname()}"):
            batch.run()
        (batch.scratch / "go").touch()
        first.stdout.read()
        assert first.wait(300) == 0
    for name, array in arrays.items():
        np.testing.assert_array_equal(batch.labels(name), array > 0)


def test_of_many_that_start_together_one_gets_the_folder(batch):
    for index in range(3):
        batch.scan(f"{index}.mha", "slow", index)
    batch.output.mkdir()
    # A stale lock that all of them would like to take over.
    write_lock(batch.output / LOCK, pid=2**22 + 1, start=1)
    codes = []

    def one():
        with start(batch) as run:
            run.stdout.read()
            codes.append(run.wait(300))

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes.count(0) >= 1
    assert set(codes) <= {0, 2}
    assert set(batch.states().values()) == {"done"}
    assert not batch.leftovers()


# --- what a crash leaves ------------------------------------------------------------------------------


@pytest.mark.parametrize("torn", ["", '{"host": "a', "[]", "null"])
def test_a_torn_lock_is_taken_over_when_it_has_grown_old(batch, torn, monkeypatch):
    monkeypatch.setattr(lock, "STALE_S", 0.5)
    batch.scan("a.mha")
    batch.output.mkdir()
    (batch.output / LOCK).write_text(torn)
    assert batch.run(0).done == ["a.mha"]
    assert "watching for a sign of life" in batch.events[0].message


def test_a_lock_from_another_host_counts_by_its_heartbeat(batch, monkeypatch):
    batch.scan("a.mha")
    batch.output.mkdir()
    write_lock(batch.output / LOCK, pid=1, **ELSEWHERE["another host"])
    with beating_lock(batch.output / LOCK), pytest.raises(ConfigError, match="process 1 on elsewhere"):
        batch.run(0)
    monkeypatch.setattr(lock, "STALE_S", 0.5)
    assert batch.run(0).done == ["a.mha"]


@pytest.mark.parametrize("size", [0, 100, 4096, 9000])
def test_a_ledger_cut_short_costs_no_mask(batch, size):
    batch.scan("a.mha")
    batch.run(0)
    before = (batch.output / "a.mha").read_bytes()
    ledger = batch.output / "itk_infer.db"
    ledger.write_bytes(ledger.read_bytes()[:size])
    if size:
        with pytest.raises(ConfigError, match=r"itk_infer\.db|ledger"):
            batch.run(0)
    else:  # an empty file is an empty ledger, and what it does not know is kept
        assert "another program" in batch.run(0).skipped["a.mha"]
    assert (batch.output / "a.mha").read_bytes() == before


# --- stale results --------------------------------------------------------------------------------------


def test_a_model_that_changed_by_a_byte_is_another_model(batch):
    batch.scan("a.mha")
    model = batch.model().load()
    run_folder(model, batch.settings())
    backend = model.backend
    backend.digest = "another"
    summary = run_folder(Predictor(backend), batch.settings())
    assert summary.done == ["a.mha"]


# --- clocks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [-86400, 86400])
def test_a_clock_that_jumps_between_two_runs_loses_nothing(batch, monkeypatch, jump):
    batch.scan("a.mha")
    batch.run(0)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + jump)
    batch.scan("b.mha")
    summary = batch.run(0)
    assert (summary.done, list(summary.skipped)) == (["b.mha"], ["a.mha"])


def test_a_timeout_is_measured_by_a_clock_that_does_not_jump(batch, monkeypatch):
    batch.scan("a.mha", "slow")
    now, calls = time.time, []

    def jumping():
        calls.append(None)
        return now() + 1e6 * len(calls)

    monkeypatch.setattr(time, "time", jumping)
    assert batch.run(timeout=300).done == ["a.mha"]


# --- places where little is allowed ---------------------------------------------------------------------------


@posix
def test_few_open_files(batch):
    for index in range(20):
        batch.scan(f"{index}.nii.gz", seed=index)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))"
    done = program(batch, "--num-proc", 2, "--save-logits", first=limit)
    assert done.returncode == 0, done.stderr
    assert "20 done" in done.stderr


@posix
def test_no_home_and_no_temporary_folder(batch):
    batch.scan("a.nii.gz")
    batch.scan("a b.nii", seed=1)
    environment = {
        **os.environ,
        "HOME": "/nonexistent",
        "TMPDIR": "/nonexistent",
        "XDG_CACHE_HOME": "/nonexistent",
    }
    done = program(batch, "--num-proc", 1, env=environment)
    assert done.returncode == 0, done.stderr


@posix
def test_an_input_tree_that_may_only_be_read(batch):
    batch.scan("a.nii.gz")
    (batch.source / "a.nii.gz").chmod(0o444)
    batch.source.chmod(0o555)
    try:
        assert batch.run().done == ["a.nii.gz"]
    finally:
        batch.source.chmod(0o755)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
def test_an_output_on_another_file_system(batch):
    """Partials lie beside their final names, so no rename crosses file systems."""
    array = batch.scan("a.nii.gz")
    batch.output = Path("/dev/shm") / f"itk_infer-test-{os.getpid()}"
    try:
        assert batch.run(save_logits=True).done == ["a.nii.gz"]
        np.testing.assert_array_equal(batch.labels("a.nii.gz"), array > 0)
    finally:
        shutil.rmtree(batch.output, ignore_errors=True)


@posix
def test_names_with_spaces_newlines_dashes_and_of_full_length(batch):
    batch.scan("plain.nii.gz")
    source = (batch.source / "plain.nii.gz").read_bytes()
    names = ["two words.nii.gz", "line\nbreak.nii.gz", "-o.nii.gz", "ü%s{}.nii.gz", "n" * 248 + ".nii.gz"]
    for name in names:
        (batch.source / name).write_bytes(source)
    done = program(batch, "--progress", "json")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(event["case"] for event in events if event["event"] == "case_done") == sorted(
        [*names, "plain.nii.gz"]
    )
    assert {path.name for path in batch.output.iterdir()} >= set(names)


@posix
def test_stdout_that_is_closed(batch):
    batch.scan("a.mha")
    done = program(batch, first="os.close(1)")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_workers_are_spawned_never_forked(batch, monkeypatch):
    """A fork of a process with threads, as a notebook or a viewer is, can hang for ever."""
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("forked"))
    batch.scan("a.mha")
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert batch.run().done == ["a.mha"]
    finally:
        stop.set()
        thread.join()


@posix
def test_a_disk_that_is_full_for_one_case_only(batch):
    """A file-size limit in the worker stands for the disk: the large case fails with a reason, the small one is done."""
    batch.scan("small.nii", size=(8, 8, 8))
    batch.scan("large.nii", size=(60, 60, 60))
    # No bytecode is written meanwhile, by its workers either: it would be cut off at the limit, too, and stay.
    bytecode = "import os, sys; sys.dont_write_bytecode = True; os.environ['PYTHONDONTWRITEBYTECODE'] = '1'"
    limit = f"{bytecode}; import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))"
    done = program(batch, first=limit)
    assert done.returncode == 3, done.stderr
    assert "large.nii: FAILED" in done.stderr
    assert batch.states() == {"large.nii": "failed", "small.nii": "done"}
    assert not batch.leftovers()
    assert sitk.ReadImage(str(batch.output / "small.nii")).GetSize() == (8, 8, 8)


# --- memory ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_a_worker_does_not_grow(batch):
    from itk_infer.events import CaseDone

    for index in range(60):
        batch.scan(f"{index:02d}.mha", seed=index, size=(56, 56, 56))  # 0.7 MB in single precision
    pages = []

    def weigh(event):
        if isinstance(event, CaseDone):
            worker = next(batch.scratch.glob("load-*")).name[5:]
            pages.append(int(Path(f"/proc/{worker}/statm").read_text().split()[1]))

    batch.run(on_event=weigh)
    # Of 40 cases, half of their volumes; what a worker holds differs from case to case by a few MB.
    grown = (np.mean(pages[-10:]) - np.mean(pages[10:20])) * os.sysconf("SC_PAGE_SIZE")
    assert grown < 40 * 56**3 * 4 / 2
