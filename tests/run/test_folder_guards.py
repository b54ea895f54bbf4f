"""What a run never writes over or through, and output folders, ledgers and locks that are damaged or vanish."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace

import pytest
import SimpleITK as sitk

from itk_infer.errors import ConfigError
from itk_infer.events import (
    CaseDone,
    CaseFailed,
    CaseStarted,
    Events,
    Progress,
    RunDone,
)
from itk_infer.executors.case_files import run_case
from itk_infer.executors.in_process import InProcess
from itk_infer.executors.messages import Stopped
from itk_infer.files.lock_ticket import LockTicket
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.predictor import Predictor
from itk_infer.run.folder import run_cases
from itk_infer.run.lock import NAME as LOCK
from itk_infer.run.settings import RunSettings


def test_a_link_is_never_written_through(folder, tmp_path):
    folder.scan("a.mha")
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    folder.output.mkdir()
    (folder.output / "a.mha").symlink_to(precious)
    assert "a.mha" in folder.run().skipped
    folder.run(overwrite=True)
    assert precious.read_text() == "keep me"
    assert not (folder.output / "a.mha").is_symlink()


def test_inputs_are_never_replaced(folder):
    """An output folder around the input, or a link into it, must not cost anybody a scan."""
    folder.scan("x.mha", 0)
    folder.scan("in/x.mha", 1)
    before = (folder.source / "x.mha").read_bytes()
    folder.output = folder.source.parent
    summary = folder.run(recursive=True, overwrite=True)
    assert "would replace the input" in summary.failed["in/x.mha"]
    assert (folder.source / "x.mha").read_bytes() == before


def test_nothing_is_written_through_a_linked_folder(folder):
    folder.scan("sub/x.mha", 0)
    folder.output.mkdir()
    (folder.output / "sub").symlink_to(folder.source / "sub", target_is_directory=True)
    summary = folder.run(recursive=True, format="nii", save_logits=True)
    assert "is a link" in summary.failed["sub/x.mha"]
    assert [path.name for path in (folder.source / "sub").iterdir()] == ["x.mha"]


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_a_lock_that_is_no_file_is_refused_at_once(folder, kind):
    folder.scan("a.mha")
    folder.output.mkdir()
    lock = folder.output / LOCK
    lock.symlink_to("nowhere") if kind == "link" else lock.mkdir()
    with pytest.raises(ConfigError, match="is not a lock file"):
        folder.run()


def test_a_ledger_that_is_busy_is_not_to_be_moved_away(folder, monkeypatch):
    folder.scan("a.mha")
    folder.run()
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **kwargs: real(*args, **{**kwargs, "timeout": 0.1}))
    with sqlite3.connect(folder.output / "itk_infer.db") as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ConfigError, match="another program holds it open"):
            folder.run()
        other.rollback()
    other.close()


def test_a_second_run_in_the_same_folder_is_refused(folder):
    folder.scan("a.mha")
    problems = []

    def intrude(event):
        if isinstance(event, CaseStarted):
            with pytest.raises(ConfigError, match="another run is writing there") as caught:
                other()
            problems.append(str(caught.value))

    def other():
        from itk_infer.run.lock import FolderLock

        with FolderLock(folder.output):
            pass

    folder.run(on_event=intrude)
    assert len(problems) == 1


def test_output_failures_fail_the_case_and_leave_nothing(folder, monkeypatch):
    folder.scan("a.mha")
    folder.scan("b.mha", 1)
    from itk_infer.volume import write

    real = write.sitk_write if hasattr(write, "sitk_write") else sitk.WriteImage

    def broken(image, name, *args, **kwargs):
        if "a.mha" in str(name):
            raise OSError(28, "No space left on device")
        return real(image, name, *args, **kwargs)

    monkeypatch.setattr(sitk, "WriteImage", broken)
    summary = folder.run()
    assert summary.done == ["b.mha"]
    assert "disk is full" in summary.failed["a.mha"]
    assert not [name for name in folder.names() if "a.mha" in name]


def test_a_damaged_ledger_is_a_clear_error(folder):
    folder.scan("a.mha")
    folder.output.mkdir()
    (folder.output / "itk_infer.db").write_text("not a database, but long enough to look at" * 50)
    with pytest.raises(ConfigError, match="cannot be used as a ledger"):
        folder.run()


def test_a_row_that_nobody_can_read_is_a_sentence(folder):
    folder.scan("a.mha")
    folder.run()
    with sqlite3.connect(folder.output / "itk_infer.db") as db:
        db.execute("UPDATE cases SET inputs = 'garbage'")
    db.close()
    with pytest.raises(ConfigError, match="a row that cannot be read"):
        folder.run()


def test_inputs_are_never_modified(folder):
    folder.scan("a.nii.gz")
    before = (folder.source / "a.nii.gz").read_bytes()
    shutil.copystat(folder.source / "a.nii.gz", folder.source / "a.nii.gz")
    folder.run(save_logits=True, save_conf=True)
    assert (folder.source / "a.nii.gz").read_bytes() == before
    assert [path.name for path in folder.source.iterdir()] == ["a.nii.gz"]


@pytest.mark.parametrize("logits", [False, True], ids=["masks", "masks and logits"])
def test_an_output_folder_that_vanishes_ends_the_run_in_words(folder, capfd, logits):
    for index in range(3):
        folder.scan(f"{index}.nii.gz", index)

    def clean_up(event):
        if isinstance(event, Progress) and len(folder.of(CaseDone)) == 1:
            shutil.rmtree(folder.output)

    summary = folder.run(on_event=clean_up, save_logits=logits)
    assert (summary.done, summary.exit_code) == ([], 4)
    assert sorted(summary.failed) == ["0.nii.gz", "1.nii.gz", "2.nii.gz"]
    assert "vanished" in summary.failed["0.nii.gz"]
    assert "vanished during the run" in summary.problem
    assert sorted(event.case for event in folder.of(CaseFailed)) == sorted(summary.failed)
    assert folder.of(RunDone)[-1].exit_code == 4
    assert "free some space" not in summary.problem + str(summary.failed)
    assert capfd.readouterr().err == ""  # the library of NIfTI has nothing to say, either
    assert folder.run().exit_code == 0


def test_a_ledger_that_vanishes_leaves_the_masks(folder):
    for index in range(3):
        folder.scan(f"{index}.mha", index)

    def clean_up(event):
        if isinstance(event, Progress) and len(folder.of(CaseDone)) == 1:
            (folder.output / "itk_infer.db").unlink()

    summary = folder.run(on_event=clean_up)
    assert (summary.done, summary.exit_code) == (["0.mha"], 3)
    assert "itk_infer.db vanished" in summary.problem


def test_a_folder_that_vanishes_after_the_last_case(folder):
    folder.scan("a.mha")

    def clean_up(event):
        if isinstance(event, CaseDone):
            shutil.rmtree(folder.output)

    summary = folder.run(on_event=clean_up)
    assert (summary.done, list(summary.failed), summary.exit_code) == ([], ["a.mha"], 4)


def test_every_task_carries_the_lock_and_a_lost_one_writes_nothing(folder):
    """A worker that wakes up after the run was robbed drops what it has computed."""
    folder.scan("a.mha")
    folder.scan("b.mha", 1)
    tasks, stopped = [], []

    class Robbed(InProcess):
        def submit(self, task):
            tasks.append(task)
            super().submit(task)

        def step(self, tell):
            if len(tasks) == len(folder.of(CaseDone)) + 1:
                lost = replace(self._queue.popleft(), lock=LockTicket(folder.output / LOCK, "another token"))
                stopped.append(run_case(predictor, lost, 0, lambda event: None, lambda: None))
                tell(Stopped(lost.name))
            else:
                super().step(tell)

    predictor, settings = Predictor(FakeBackend()), RunSettings(folder.source, folder.output, save_logits=True)
    run_cases(Robbed(predictor), settings, Events([folder.events.append]))
    assert [(task.lock.path, len(task.lock.token)) for task in tasks] == [(folder.output / LOCK, 32)] * 2
    assert stopped == [Stopped("b.mha")]
    assert folder.names() == ["a.mha", "a.zarr", "itk_infer.db", "labels.csv"]
