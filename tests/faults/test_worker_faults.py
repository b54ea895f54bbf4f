"""Workers that die, hang, or never get to work; the others never notice."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from support.programs import start, wait_for

from itk_infer.errors import ModelError
from itk_infer.events import CaseDone, CaseFailed, CaseStarted, RunStarted, Warned
from itk_infer.executors import in_flight as jobs
from itk_infer.executors.workers import STOP_GRACE_S
from itk_infer.system import STOP_SIGNALS
from itk_infer.testing.faulty import Clock, InterruptedModel, wait_until

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills by signal")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("kill", "SIGKILL), perhaps because memory ran out"),
        ("abort", "crashed in native code (SIGABRT)"),
        ("segfault", "crashed in native code (SIGSEGV)"),
        ("exit", "ended with exit code 7"),
    ],
)
def test_a_worker_that_dies_costs_its_case_two_attempts(batch, fault, words):
    batch.scan("a.mha", fault)
    array = batch.scan("b.mha")
    summary = batch.run()
    assert summary.done == ["b.mha"]
    assert words in summary.failed["a.mha"]
    assert summary.exit_code == 3
    assert [event.attempt for event in batch.events if isinstance(event, CaseFailed)] == [2]
    assert any("tried once more" in event.message for event in batch.events if isinstance(event, Warned))
    np.testing.assert_array_equal(batch.labels("b.mha"), array > 0)
    assert batch.states() == {"a.mha": "failed", "b.mha": "done"}
    assert not batch.leftovers()


def test_the_second_attempt_can_succeed(batch):
    batch.scan("a.mha", "kill_once")
    assert batch.run().done == ["a.mha"]


def test_the_second_attempt_takes_one_window_at_a_time(batch):
    batch.scan("a.mha", "kill_batch", size=(8, 8, 4))
    model = batch.model(batch=8, patch=(8, 8, 2))
    assert batch.run(model=model).done == ["a.mha"]


def test_a_case_that_hangs_fails_by_its_time_and_at_once(batch, monkeypatch):
    batch.scan("a.mha", "hang")
    batch.scan("b.mha")
    clock = Clock(monkeypatch, jobs)

    def on_event(event):
        if isinstance(event, CaseStarted) and event.case == "a.mha":
            clock.forward(600)

    summary = batch.run(timeout=600, on_event=on_event)
    assert summary.done == ["b.mha"]
    assert "`case_timeout`" in summary.failed["a.mha"]
    assert [event.attempt for event in batch.events if isinstance(event, CaseFailed)] == [1]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("raise", "a surprise in the network"),
        ("nan", "NaN"),
        ("memory", "not enough memory"),
        ("shape", "shape"),
    ],
)
@pytest.mark.parametrize("workers", [0, 1])
def test_what_would_only_fail_again_is_not_tried_again(batch, fault, words, workers):
    batch.scan("a.mha", fault)
    batch.scan("b.mha")
    summary = batch.run(workers)
    assert summary.done == ["b.mha"]
    assert words in summary.failed["a.mha"]
    assert [event.attempt for event in batch.events if isinstance(event, CaseFailed)] == [1]


@pytest.mark.parametrize("loading", ["raise", "kill"])
def test_a_model_that_cannot_be_loaded_ends_the_run_at_once(batch, loading):
    for index in range(5):
        batch.scan(f"{index}.mha")
    with pytest.raises(ModelError, match="weights are gone|SIGKILL") as caught:
        batch.run(2, model=batch.model(loading=loading))
    assert caught.value.exit_code == 5
    assert not batch.output.exists()


def test_a_python_that_cannot_be_executed_is_named(batch, monkeypatch):
    """As where another user has installed it in a folder of their own."""
    batch.scan("a.mha")
    python = batch.folder / "python"
    python.write_text("not a program")
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(ModelError, match=f"could not be started, since {re.escape(str(python))} cannot be exec"):
        batch.run()


def test_a_model_that_cannot_be_loaded_any_more_ends_the_run(batch):
    batch.scan("a.mha", "kill")
    for index in range(3):
        batch.scan(f"{index}.mha")
    summary = batch.run(model=batch.model(loading="later"))
    assert summary.exit_code == 5
    assert "weights are gone" in summary.problem
    assert not batch.leftovers()


def test_one_death_while_loading_again_is_survived(batch):
    batch.scan("a.mha", "kill_once")
    (batch.scratch / "load-0").touch()
    assert batch.run(model=batch.model(loading="kill_once")).done == ["a.mha"]


def test_a_worker_killed_from_outside_is_replaced(batch):
    for index in range(4):
        batch.scan(f"{index}.mha", "slow", index)
    victims = []

    def shoot(event):
        if isinstance(event, CaseStarted) and not victims:
            victims.append(int(next(batch.scratch.glob("load-*")).name[5:]))
            os.kill(victims[0], signal.SIGKILL)

    summary = batch.run(on_event=shoot)
    assert sorted(summary.done) == [f"{index}.mha" for index in range(4)]


def test_workers_share_equal_cases_and_take_the_largest_first(batch):
    """Each case waits for one in the other worker. Of such two, either can be the first to report that it began."""
    for index, depth in enumerate((8, 12, 16, 10)):
        batch.scan(f"{index}.mha", "pair", size=(8, 8, depth))
    batch.run(2)
    started = [event.case for event in batch.of(CaseStarted)]
    assert (sorted(started[:2]), sorted(started[2:])) == (["1.mha", "2.mha"], ["0.mha", "3.mha"])
    assert sorted(event.worker for event in batch.of(CaseDone)) == [0, 0, 1, 1]
    assert [event.workers for event in batch.of(RunStarted)] == [2]


def test_workers_write_nothing_to_stdout(batch, capfd):
    batch.scan("a.mha", "raise")
    batch.run()
    assert capfd.readouterr().out == ""


def test_a_worker_interrupted_while_it_is_born_works_all_the_same(batch):
    """Ctrl-C reaches the whole group; only the parent decides what it means."""
    batch.scan("a.mha")
    assert batch.run(model=InterruptedModel(batch.scratch)).done == ["a.mha"]


# --- the whole program: signals, and a parent that is killed ---------------------------------------


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return not stat.parent.parent.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def workers_of(batch):
    return [int(path.name[5:]) for path in batch.scratch.glob("load-*")]


def wait_for_the_end_of(pids):
    wait_until(lambda: not any(map(alive, pids)))


@pytest.mark.parametrize("number", STOP_SIGNALS)
@pytest.mark.parametrize("fault", ["", "hang"], ids=["between windows", "within a window"])
@pytest.mark.parametrize("device", ["cpu", "pretended"])
def test_a_signal_ends_everything_in_good_order(batch, number, fault, device):
    for index in range(6):
        batch.scan(f"{index}.mha", fault, index)
    # 343 windows a case: without the signal they would take minutes, or for ever.
    with start(batch, workers=2, pause=0.1, patch=(2, 2, 2), device=device) as program:
        wait_for(program, "case_started", 2)
        began = time.monotonic()
        program.send_signal(number)
        program.stdout.read()
        assert program.wait(300) == 128 + number
        assert time.monotonic() - began < 10 * STOP_GRACE_S
    assert not any(map(alive, workers_of(batch)))
    assert not batch.leftovers()
    assert "interrupted" in batch.states().values()
    assert "running" not in batch.states().values()


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks in /proc whether a signal would be caught")
def test_a_second_interrupt_is_immediate(batch):
    batch.scan("a.mha", "hang")
    with start(batch, grace=600) as program:
        wait_for(program, "case_started")
        assert catches(program.pid, signal.SIGINT)
        program.send_signal(signal.SIGINT)
        wait_until(lambda: not catches(program.pid, signal.SIGINT))
        program.send_signal(signal.SIGINT)
        assert program.wait(300) == -signal.SIGINT  # not 130, which is the end of a stop in good order
    wait_for_the_end_of(workers_of(batch))


def catches(pid, number):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return bool(mask >> (number - 1) & 1)


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for zombies in /proc")
def test_workers_end_with_a_killed_parent(batch):
    for index in range(4):
        batch.scan(f"{index}.mha", "hang", index)
    with start(batch, workers=2) as program:
        wait_for(program, "case_started", 2)
        program.kill()
        program.stdout.read()
    wait_for_the_end_of(workers_of(batch))


@pytest.mark.parametrize("seed", range(26))
def test_a_parent_killed_anywhere_is_made_good_by_the_next_run(batch, seed):
    arrays = {f"{index}.nii.gz": batch.scan(f"{index}.nii.gz", seed=index) for index in range(6)}
    random = np.random.default_rng(seed)
    device = "cpu" if seed < 20 else "pretended"
    with start(batch, workers=1 + seed % 2, pause=0.01, device=device) as program:
        wait_for(program, "case_started")
        threading.Event().wait(random.uniform(0, 0.3))
        program.kill()
        program.stdout.read()
    wait_for_the_end_of(workers_of(batch))
    before = {path.name: path.stat().st_mtime_ns for path in batch.output.glob("[0-9]*.nii.gz")}
    noted = {name for name, state in batch.states().items() if state == "done"}
    summary = batch.run(0)
    assert summary.exit_code == 0
    assert noted <= set(summary.skipped)
    assert set(batch.states().values()) == {"done"}
    for name, array in arrays.items():
        np.testing.assert_array_equal(batch.labels(name), array > 0)
    assert all((batch.output / name).stat().st_mtime_ns == before[name] for name in noted)
    assert not batch.leftovers()
