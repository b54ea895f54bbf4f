"""The next case is read, and the last one written, while one is computed; and what can go wrong with that."""

from __future__ import annotations

import os

import numpy as np
import pytest
from support.gated import GatedModel

from itk_infer.events import CaseDone, CaseFailed, CaseStarted, Progress, Warned
from itk_infer.executors import in_flight as jobs
from itk_infer.executors import workers
from itk_infer.executors.messages import Computed
from itk_infer.executors.workers import Workers
from itk_infer.outputs.logits import read_logits
from itk_infer.run.ledger import Ledger
from itk_infer.testing.faulty import Clock, interrupt_at, wait_until
from itk_infer.volume.read import file_sha256

posix = pytest.mark.skipif(os.name != "posix", reason="kills by signal")


@pytest.fixture
def model(batch):
    return GatedModel(batch.model(device="pretended"))


@pytest.fixture
def on_computed(monkeypatch):
    """Has a function called with the worker, after the parent has been told that a case is computed, and has given the next."""
    then = {}
    understand = Workers._understand

    def understand_and_tell(self, worker, message, tell):
        understand(self, worker, message, tell)
        if isinstance(message, Computed) and message.name in then:
            then.pop(message.name)(worker)

    monkeypatch.setattr(Workers, "_understand", understand_and_tell)
    return then.__setitem__


@pytest.fixture
def long_grace(monkeypatch):
    """A worker that is told to stop has as long as it likes."""
    monkeypatch.setattr(workers, "STOP_GRACE_S", 120.0)


def attempts(batch):
    ledger = Ledger(batch.output, read_only=True)
    try:
        return {name: (record.state, record.attempts) for name, record in ledger.cases().items()}
    finally:
        ledger.close()


def position(batch, kind, case):
    return next(i for i, event in enumerate(batch.events) if isinstance(event, kind) and event.case == case)


def claims(batch):
    return [path.name for path in batch.output.iterdir() if path.name.startswith(".claim")]


# --- it overlaps -----------------------------------------------------------------------------------


def test_windows_begin_while_the_last_case_is_written(batch, model):
    arrays = {name: batch.scan(name, seed=seed) for seed, name in enumerate(("a_held.mha", "b.mha"))}

    def on_event(event):
        if isinstance(event, Progress) and event.case == "b.mha":
            model.release("a_held.mha")

    assert batch.run(model=model, on_event=on_event, timeout=300).done == ["a_held.mha", "b.mha"]
    assert position(batch, Progress, "b.mha") < position(batch, CaseDone, "a_held.mha")
    for name, array in arrays.items():
        np.testing.assert_array_equal(batch.labels(name), array > 0)


def test_two_cases_wait_for_a_disk_and_no_more(batch, model, on_computed):
    for name in ("a_held.mha", "b.mha", "c.mha", "d.mha"):
        batch.scan(name)
    given = []

    def release(worker):
        given.extend(job.name for job in worker.jobs.all)
        model.release("a_held.mha")

    on_computed("b.mha", release)
    assert len(batch.run(model=model, timeout=300).done) == 4
    assert given == ["a_held.mha", "b.mha"]
    assert position(batch, CaseDone, "a_held.mha") < position(batch, CaseStarted, "c.mha")
    order = [line.split()[1] for line in model.trace() if line.startswith("write")]
    assert order == ["a_held.mha", "b.mha", "c.mha", "d.mha"]


def test_the_next_case_is_read_before_it_is_given(batch, model):
    batch.scan("a.mha", "gate")
    batch.scan("b.mha")
    seen = []

    def on_event(event):
        if isinstance(event, CaseStarted) and event.case == "a.mha":
            wait_until(lambda: "read b.mha" in model.trace())
            seen.append(batch.states())
            model.go()

    assert batch.run(model=model, on_event=on_event).exit_code == 0
    assert seen == [{"a.mha": "running", "b.mha": "waiting"}]
    assert model.trace().count("read b.mha") == 1
    done = next(event for event in batch.events if isinstance(event, CaseDone) and event.case == "b.mha")
    assert done.stages["read"] > 0


def test_on_a_cpu_nothing_overlaps(batch):
    model = GatedModel(batch.model(device="cpu"))
    for name in ("a.mha", "b.mha", "c.mha"):
        batch.scan(name)
    batch.run(model=model)
    assert model.trace() == [f"{what} {name}.mha" for name in "abc" for what in ("read", "write")]


def test_twenty_cases_are_done_once_each_and_are_the_same_to_the_byte(new_batch):
    plain, overlapping = new_batch("plain"), new_batch("overlapping")
    names = [f"{index:02}.{suffix}" for index, suffix in enumerate(("nii.gz", "mha", "nrrd", "nii") * 5)]
    for folder in (plain, overlapping):
        for seed, name in enumerate(names):
            folder.scan(name, seed=seed, size=(8, 8, 8 + seed))
    model = GatedModel(overlapping.model(device="pretended", patch=(4, 8, 8)))
    plain.run(0, model=plain.model(patch=(4, 8, 8)), save_logits=True)
    summary = overlapping.run(2, model=model, save_logits=True)
    assert sorted(summary.done) == names
    assert set(attempts(overlapping).values()) == {("done", 1)}
    written = [line for line in model.trace() if line.startswith("write")]
    assert sorted(written) == [f"write {name}" for name in names]
    # Only the very last case may have been read ahead by the worker that did not get it.
    assert len(model.trace()) - len(written) <= len(names) + 1
    assert overlapping.voxels() == plain.voxels()
    for path in plain.output.glob("*.zarr"):
        np.testing.assert_array_equal(read_logits(overlapping.output / path.name)[0], read_logits(path)[0])
    assert not overlapping.leftovers()
    assert not claims(overlapping)


def test_no_worker_idles_for_what_another_has_read_ahead(batch, model):
    batch.scan("a.mha", "gate", size=(8, 8, 16))
    for name in ("b.mha", "c.mha", "d.mha"):
        batch.scan(name)

    def on_event(event):
        if isinstance(event, CaseDone) and sum(isinstance(item, CaseDone) for item in batch.events) == 3:
            model.go()

    assert batch.run(2, model=model, on_event=on_event).done[-1] == "a.mha"


# --- files that change, or are damaged -------------------------------------------------------------


def test_a_file_that_changes_after_it_was_read_ahead_is_read_again(batch, model):
    batch.scan("a.mha", "gate")
    batch.scan("b.mha", seed=1)
    changed = []

    def on_event(event):
        if isinstance(event, CaseStarted) and event.case == "a.mha":
            wait_until(lambda: "read b.mha" in model.trace())
            changed.append(batch.scan("b.mha", seed=2, size=(8, 8, 9)))
            model.go()

    assert batch.run(model=model, on_event=on_event).exit_code == 0
    np.testing.assert_array_equal(batch.labels("b.mha"), changed[0] > 0)
    assert model.trace().count("read b.mha") == 2
    ledger = Ledger(batch.output, read_only=True)
    assert ledger.cases()["b.mha"].inputs[0].sha256 == file_sha256(batch.source / "b.mha")
    ledger.close()


def test_a_damaged_file_fails_for_itself_and_in_the_same_words(new_batch):
    reasons = []
    for index, device in enumerate(("cpu", "pretended")):
        folder = new_batch(f"{index}")
        for name in ("a.nii.gz", "b.nii.gz", "c.nii.gz", "e.mha"):
            folder.scan(name)
        damaged = folder.source / "b.nii.gz"
        damaged.write_bytes(damaged.read_bytes()[:-20])
        (folder.source / "d.mha").touch()
        summary = folder.run(model=folder.model(device=device))
        assert sorted(summary.done) == ["a.nii.gz", "c.nii.gz", "e.mha"]
        reasons.append({name: said.replace(str(folder.source), "") for name, said in summary.failed.items()})
    assert sorted(reasons[0]) == ["b.nii.gz", "d.mha"]
    assert reasons[0] == reasons[1]


def test_a_write_that_fails_is_told_of_its_own_case(batch, model):
    for name in ("a.mha", "b_full.mha", "c.mha", "d.mha"):
        batch.scan(name)
    summary = batch.run(model=model)
    assert sorted(summary.done) == ["a.mha", "c.mha", "d.mha"]
    assert list(summary.failed) == ["b_full.mha"]
    assert "the disk is full" in summary.failed["b_full.mha"]
    assert not batch.leftovers()


# --- workers that die ------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("doom", ["doomed_once", "doomed"])
def test_a_worker_that_dies_between_a_files_name_and_the_ledger(batch, model, doom):
    first = f"a_held_{doom}.mha"
    arrays = {first: batch.scan(first), "b.mha": batch.scan("b.mha", "gate", seed=1)}

    def on_event(event):
        if isinstance(event, CaseStarted) and event.case == "b.mha":
            # The first time while it is at work beside the doomed one; then alone.
            (model.go if (batch.scratch / "killed once").exists() else lambda: model.release(first))()

    summary = batch.run(model=model, on_event=on_event)
    assert "b.mha" in summary.done
    assert attempts(batch) == {first: ("done" if doom == "doomed_once" else "failed", 2), "b.mha": ("done", 2)}
    for name in summary.done:
        np.testing.assert_array_equal(batch.labels(name), arrays[name] > 0)
    assert sum(isinstance(event, CaseDone | CaseFailed) for event in batch.events) == 2
    assert not batch.leftovers()
    # A file that has its name and is in no ledger is made good by the next run, as ever.
    (batch.scratch / "killed once").touch()
    assert batch.run(0).exit_code == 0
    assert not claims(batch)


@posix
def test_a_network_that_kills_costs_the_case_being_written_one_attempt(batch, model):
    batch.scan("a_held.mha")
    batch.scan("b.mha", "kill", seed=1)
    batch.scan("c.mha")

    def on_event(event):
        if isinstance(event, Warned) and "tried once more" in event.message:
            model.release("a_held.mha")

    summary = batch.run(model=model, on_event=on_event)
    assert sorted(summary.done) == ["a_held.mha", "c.mha"]
    assert list(summary.failed) == ["b.mha"]
    assert attempts(batch)["a_held.mha"] == ("done", 2)
    warned = [event.message.split(":")[0] for event in batch.events if isinstance(event, Warned)]
    assert sorted(warned) == ["a_held.mha", "b.mha"]
    assert not batch.leftovers()


@posix
def test_a_second_attempt_has_nothing_beside_it(batch, model, on_computed):
    batch.scan("a.mha", "kill")
    batch.scan("b_held.mha", seed=1)
    given = []

    def release(worker):
        given.extend(job.name for job in worker.jobs.all)
        model.release("b_held.mha")

    on_computed("b_held.mha", release)
    assert batch.run(model=model).done == ["b_held.mha"]
    assert given == ["b_held.mha"]  # and "a.mha" waits
    assert attempts(batch) == {"a.mha": ("failed", 2), "b_held.mha": ("done", 1)}


@posix
def test_one_killing_case_never_takes_another_with_it(batch, model):
    """However many cases kill, those that were beside them are done in the end."""
    for index in range(12):
        batch.scan(f"{index:02}.mha", "kill" if index % 3 == 1 else "", index)
    summary = batch.run(2, model=model)
    assert sorted(summary.failed) == ["01.mha", "04.mha", "07.mha", "10.mha"]
    assert len(summary.done) == 8
    assert not batch.leftovers()


# --- stopping, and time ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "grace"), [("a_till_stopped.mha", 120.0), ("a_held.mha", 0.5)], ids=["ends", "goes on"]
)
def test_stopped_while_writing(batch, first, grace, monkeypatch):
    monkeypatch.setattr(workers, "STOP_GRACE_S", grace)
    model = GatedModel(batch.model(device="pretended", pause=0.2, patch=(2, 2, 2)))  # minutes, if nothing stops it
    batch.scan(first, size=(2, 2, 2))
    for name in ("b.mha", "c.mha"):
        batch.scan(name)

    interrupt = interrupt_at(lambda event: isinstance(event, CaseStarted) and event.case == "b.mha")
    summary = batch.run(model=model, on_event=interrupt)
    assert summary.exit_code == 130
    ends = first == "a_till_stopped.mha"
    assert summary.done == ([first] if ends else [])
    state = "done" if ends else "interrupted"
    assert batch.states() == {first: state, "b.mha": "interrupted", "c.mha": "waiting"}
    assert not batch.leftovers()
    assert batch.run(0, model=batch.model(patch=(2, 2, 2))).exit_code == 0
    assert set(batch.states().values()) == {"done"}


def test_what_waits_to_be_written_is_dropped_by_a_stop(batch, model, long_grace):
    batch.scan("a_till_stopped.mha")
    batch.scan("b.mha")

    interrupt = interrupt_at(lambda event: isinstance(event, Progress) and event.case == "b.mha")
    summary = batch.run(model=model, on_event=interrupt)
    assert summary.done == ["a_till_stopped.mha"]
    assert batch.states() == {"a_till_stopped.mha": "done", "b.mha": "interrupted"}
    assert "write b.mha" not in model.trace()
    assert not batch.leftovers()


def test_a_case_whose_writing_hangs_fails_by_its_time_and_alone(batch, model, monkeypatch):
    for name in ("a_held.mha", "b.mha", "c.mha"):
        batch.scan(name)
    clock = Clock(monkeypatch, jobs)

    def on_event(event):
        if isinstance(event, Progress) and event.case == "b.mha" and not batch.of(CaseFailed):
            clock.forward(600)

    summary = batch.run(model=model, timeout=600, on_event=on_event)
    assert list(summary.failed) == ["a_held.mha"]
    assert "`case_timeout`" in summary.failed["a_held.mha"]
    assert sorted(summary.done) == ["b.mha", "c.mha"]
    message = next(event.message for event in batch.events if isinstance(event, Warned))
    assert message.startswith("b.mha: a_held.mha, in the same worker, took longer")
