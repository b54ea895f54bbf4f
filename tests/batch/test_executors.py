"""What every executor must do, whatever computes: this process, worker processes, a Dask cluster."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also on the path of spawned workers

from faulty import Clock, FaultyModel, marked
from lock_files import write_lock
from support.local_cluster import local_cluster_of

from itk_infer.errors import ModelError
from itk_infer.events import CaseDone, CaseFailed, CaseStarted, Events, Progress, RunStarted
from itk_infer.executors.dask_cluster import RunningCluster
from itk_infer.executors.gpus import Placement
from itk_infer.executors.in_process import InProcess
from itk_infer.executors.workers import Workers
from itk_infer.run.folder import run_cases
from itk_infer.run.ledger import Ledger

from itk_infer.run.settings import RunSettings  # isort: skip

posix = pytest.mark.skipif(os.name != "posix", reason="kills by signal")


@pytest.fixture(scope="session")
def local_cluster():
    pytest.importorskip("distributed")
    with local_cluster_of(2) as cluster:
        yield cluster


@pytest.fixture(params=["in_process", "workers", "overlapping", "dask"])
def kind(request):
    return request.param


@pytest.fixture
def run(kind, folder, tmp_path, request):
    """A run over `folder` with a `FaultyModel`, by the executor under test."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def run(*, on_event=None, timeout=None, **options):
        if kind == "overlapping":
            options["device"] = "pretended"
        model, settings = FaultyModel(scratch, **options), RunSettings(folder.source, folder.output)
        if kind == "in_process":
            executor = InProcess(model.load())
        elif kind in ("workers", "overlapping"):
            executor = Workers(model, (Placement(),) * 2, timeout)
        else:
            from itk_infer.executors.dask import DaskCluster

            address = request.getfixturevalue("local_cluster").scheduler_address
            executor = DaskCluster(model, RunningCluster(address), 1, timeout)
        folder.events = []
        return run_cases(executor, settings, Events([folder.events.append, *([on_event] if on_event else [])]))

    return run


def fault(folder, name, kind):
    import SimpleITK as sitk

    array = folder.scan(name)
    sitk.WriteImage(sitk.GetImageFromArray(marked(array, kind)), str(folder.source / name))


def states(folder):
    ledger = Ledger(folder.output, read_only=True)
    found = {name: (record.state, record.attempts) for name, record in ledger.cases().items()}
    ledger.close()
    return found


def leftovers(folder):
    return [name for name in folder.names() if "partial" in name or name.endswith(".lock")]


def test_every_case_is_done_once(run, folder, kind):
    arrays = {f"{index}.mha": folder.scan(f"{index}.mha", index) for index in range(6)}
    summary = run()
    assert sorted(summary.done) == sorted(arrays)
    assert (summary.exit_code, len(folder.of(CaseDone))) == (0, 6)
    for name, array in arrays.items():
        np.testing.assert_array_equal(folder.labels(name), array > 0)
    assert set(states(folder).values()) == {("done", 1)}
    assert folder.of(RunStarted)[0].workers == (1 if kind == "in_process" else 2)
    assert len(run().skipped) == 6


def test_what_happens_to_a_case_is_told_in_order(run, folder):
    for index in range(3):
        folder.scan(f"{index}.mha", index)
    run()
    for name in ("0.mha", "1.mha", "2.mha"):
        told = [event for event in folder.events if getattr(event, "case", None) == name]
        assert [type(event) for event in told] == [CaseStarted, Progress, CaseDone]
        assert len({event.worker for event in told}) == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [("raise", "a surprise"), ("nan", "NaN"), ("memory", "not enough memory"), ("shape", "shape")],
)
def test_a_case_that_fails_is_one_failure(run, folder, name, words):
    fault(folder, "a.mha", name)
    (folder.source / "b.mha").touch()
    folder.scan("c.mha")
    summary = run()
    assert summary.done == ["c.mha"]
    assert summary.exit_code == 3
    assert words in summary.failed["a.mha"]
    assert states(folder) == {"a.mha": ("failed", 1), "b.mha": ("failed", 1), "c.mha": ("done", 1)}
    assert not leftovers(folder)


def test_a_run_that_is_stopped_leaves_nothing_half_done(run, folder):
    for index in range(8):
        folder.scan(f"{index}.mha", index)
    small = {
        "patch": (4, 4, 4)
    }  # 18 windows a case: nine seconds, in which a stop finds it at work on any machine

    def interrupt(event):
        if isinstance(event, CaseStarted) and len(folder.of(CaseStarted)) == 1:  # a second signal would be the end
            signal.raise_signal(signal.SIGINT)

    summary = run(on_event=interrupt, pause=0.5, **small)
    assert summary.exit_code == 130
    found = {state for state, _ in states(folder).values()}
    assert found <= {"done", "interrupted", "waiting"}
    assert "interrupted" in found
    assert not leftovers(folder)
    assert run(**small).exit_code == 0
    assert {state for state, _ in states(folder).values()} == {"done"}


def test_a_model_that_cannot_be_loaded_is_an_error_at_once(run, folder):
    folder.scan("a.mha")
    with pytest.raises(ModelError, match="weights are gone"):
        run(loading="raise")
    assert not folder.output.exists()


@posix
def test_a_dead_worker_costs_its_case_a_second_attempt(run, folder, kind):
    if kind == "in_process":
        pytest.skip("its death is that of the program")
    fault(folder, "a.mha", "kill_once")
    fault(folder, "b.mha", "kill")
    for index in range(4):
        folder.scan(f"{index}.mha", index)
    summary = run()
    assert sorted(summary.done) == ["0.mha", "1.mha", "2.mha", "3.mha", "a.mha"]
    assert states(folder)["a.mha"] == ("done", 2)
    assert states(folder)["b.mha"] == ("failed", 2)
    assert len(folder.of(CaseFailed)) == 1
    assert not leftovers(folder)


def test_a_case_that_hangs_fails_by_its_time(run, folder, kind, monkeypatch):
    if kind == "in_process":
        pytest.skip("nothing outside it can end it")
    from itk_infer.executors import dask
    from itk_infer.executors import in_flight as jobs

    fault(folder, "a.mha", "hang")
    folder.scan("b.mha")
    clock = Clock(monkeypatch, jobs, dask)

    def on_event(event):
        if {item.case for item in folder.of(CaseStarted)} == {"a.mha", "b.mha"} and folder.of(CaseDone):
            clock.forward(600)

    summary = run(timeout=600, on_event=on_event)
    assert summary.done == ["b.mha"]
    assert "--case-timeout" in summary.failed["a.mha"]


def test_a_run_that_has_lost_its_lock_writes_nothing_more(run, folder):
    """Whichever executor: not a mask, not a row, not a table, and the new holder's lock stays."""
    for index in range(6):
        folder.scan(f"{index}.mha", index)
    lock = folder.output / "itk_infer.lock"
    seen: dict[str, bytes] = {}

    def steal(event):
        if isinstance(event, CaseDone) and not seen:
            seen["lock"] = write_lock(lock, host="elsewhere")
            seen.update({path.name: path.read_bytes() for path in folder.output.glob("[!.]*")})

    summary = run(on_event=steal, pause=0.3)
    assert (summary.exit_code, len(summary.done)) == (2, 1)
    assert "on elsewhere has taken over itk_infer.lock" in summary.problem
    left = {path.name: path.read_bytes() for path in folder.output.glob("[!.]*")}
    assert left == {name: content for name, content in seen.items() if name != "lock"}
    assert left["itk_infer.lock"] == seen["lock"]
    assert folder.events[-1].exit_code == 2
