"""A run over a folder: outputs, states, resume, and everything that goes wrong."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from openpyxl import load_workbook
from support.folders import write_scan

from itk_infer.errors import ConfigError
from itk_infer.events import (
    CaseDone,
    CaseFailed,
    CaseSkipped,
    CaseStarted,
    Events,
    Progress,
    RunDone,
    RunStarted,
    Warned,
)
from itk_infer.executors.case_files import run_case
from itk_infer.executors.in_process import InProcess
from itk_infer.executors.messages import Stopped
from itk_infer.files.lock_ticket import LockTicket
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.predictor import Predictor
from itk_infer.run.about import PACKAGES
from itk_infer.run.folder import run_cases
from itk_infer.run.ledger import Ledger
from itk_infer.run.lock import NAME as LOCK
from itk_infer.run.settings import RunSettings
from itk_infer.spec import parse_spec
from itk_infer.testing.faulty import interrupt_at

THRESHOLD = parse_spec({"output": {"decision": "threshold"}, "input": {"orientation": "LPI"}}, "test")


def states(folder):
    ledger = Ledger(folder.output, read_only=True)
    found = {name: record.state for name, record in ledger.cases().items()}
    ledger.close()
    return found


def test_labels_are_what_the_network_says(folder):
    array = folder.scan("a.nii.gz")
    summary = folder.run()
    assert (summary.done, summary.failed, summary.exit_code) == (["a.nii.gz"], {}, 0)
    np.testing.assert_array_equal(folder.labels("a.nii.gz"), (array > 0).astype(np.uint8))
    assert folder.names() == ["a.nii.gz", "itk_infer.db", "labels.csv"]
    assert states(folder) == {"a.nii.gz": "done"}


def test_events_tell_the_story(folder):
    folder.scan("a.mha")
    folder.scan("b.mha", 1)
    folder.run()
    kinds = [type(event) for event in folder.events]
    assert kinds == [RunStarted, CaseStarted, Progress, CaseDone, CaseStarted, Progress, CaseDone, RunDone]
    started, done = folder.of(CaseStarted)[0], folder.of(CaseDone)[0]
    assert (started.shape, started.windows) == ((6, 7, 8), 1)
    assert done.outputs == (str(folder.output / "a.mha"),)
    assert done.volumes_ml["label 1"] == pytest.approx(np.count_nonzero(folder.labels("a.mha")) / 1000)
    assert 0 <= done.confidence <= 1


def test_a_second_run_does_nothing_and_a_new_case_only_itself(folder):
    folder.scan("a.mha")
    folder.run()
    before = (folder.output / "a.mha").stat()
    folder.scan("b.mha", 1)
    summary = folder.run()
    assert (summary.done, summary.skipped) == (["b.mha"], {"a.mha": "already done"})
    assert (folder.output / "a.mha").stat() == before


@pytest.mark.parametrize("suffix", [".mha", ".nii", ".nii.gz", ".nrrd"])
def test_bad_cases_do_not_stop_good_ones(folder, suffix):
    for index in range(3):
        folder.scan(f"good{index}{suffix}", index)
    (folder.source / f"empty{suffix}").touch()
    (folder.source / f"noise{suffix}").write_bytes(os.urandom(2000))
    os.mkfifo(folder.source / f"pipe{suffix}")
    (folder.source / f"link{suffix}").symlink_to("nowhere")
    summary = folder.run()
    assert sorted(summary.done) == [f"good{i}{suffix}" for i in range(3)]
    assert sorted(summary.failed) == sorted(f"{n}{suffix}" for n in ("empty", "noise", "pipe", "link"))
    assert summary.exit_code == 3
    assert len(folder.of(CaseFailed)) == 4
    assert set(states(folder).values()) == {"done", "failed"}
    assert not [name for name in folder.names() if "partial" in name]


def test_all_failed_is_exit_code_four(folder):
    (folder.source / "a.nii").write_bytes(b"x" * 999)
    assert folder.run().exit_code == 4


def test_a_bug_in_one_case_is_a_reason_not_the_end(folder):
    folder.scan("a.mha", 0)
    folder.scan("b.mha", 1, size=(6, 7, 9))

    def fragile(windows):
        if windows.shape[-1] == 8:
            raise KeyError("surprise")
        return np.concatenate([-windows, windows], axis=1)

    summary = folder.run(fragile)
    assert summary.done == ["b.mha"]
    assert "unexpected KeyError" in summary.failed["a.mha"]


def test_failed_cases_are_tried_again_by_the_next_run(folder):
    folder.scan("a.mha")
    folder.run(lambda windows: np.full((1, 2, 6, 7, 8), np.nan, np.float32))
    assert "NaN" in folder.of(CaseFailed)[0].reason
    summary = folder.run()
    assert summary.done == ["a.mha"]
    assert states(folder) == {"a.mha": "done"}


def test_missing_outputs_are_filled_in(folder):
    folder.scan("a.mha")
    folder.run()
    before = (folder.output / "a.mha").stat()
    summary = folder.run(save_logits=True, save_conf=True)
    assert summary.done == ["a.mha"]
    assert {"a.zarr", "confidences.xlsx"} <= set(folder.names())
    assert (folder.output / "a.mha").stat() == before  # the label map was there
    assert folder.run(save_logits=True, save_conf=True).skipped == {"a.mha": "already done"}
    (folder.output / "a.mha").unlink()
    assert folder.run().done == ["a.mha"]


def test_logits_agree_with_the_labels(folder):
    import zarr

    array = folder.scan("a.nii.gz")
    folder.run(save_logits=True)
    logits = zarr.open_array(folder.output / "a.zarr", mode="r")
    assert logits.shape == (2, 6, 7, 8)
    np.testing.assert_array_equal(logits[1], array.astype(np.float16))
    np.testing.assert_array_equal(np.argmax(logits[:], axis=0), folder.labels("a.nii.gz"))


def test_another_model_or_option_makes_results_stale_and_says_so(folder):
    folder.scan("a.mha")
    folder.run()
    assert folder.run(orientation="RAS").done == ["a.mha"]
    assert "another output orientation" in folder.of(Warned)[0].message
    assert folder.run(spec=parse_spec({"window": {"blend": "constant"}}, "t"), orientation="RAS").done == ["a.mha"]
    assert "other model settings" in folder.of(Warned)[0].message


def test_asking_for_what_the_model_does_anyway_computes_nothing(folder):
    """What counts is the patch and stride that come of it, not whether somebody typed them."""
    folder.scan("a.mha")
    folder.run(spec=parse_spec({"window": {"patch_size": [4, 4, 4], "patch_stride": [2, 2, 2]}}, "t"))
    assert folder.run(spec=parse_spec({"window": {"patch_size": [4, 4, 4]}}, "t")).skipped == {
        "a.mha": "already done"
    }
    assert folder.run(spec=parse_spec({"window": {"patch_size": [4, 4, 6]}}, "t")).done == ["a.mha"]
    assert "another patch size" in folder.of(Warned)[0].message


def test_a_changed_input_is_computed_again_a_touched_one_is_not(folder):
    folder.scan("a.mha", 0)
    folder.run()
    os.utime(folder.source / "a.mha")
    assert folder.run().skipped == {"a.mha": "already done"}
    array = folder.scan("a.mha", 5)
    assert folder.run().done == ["a.mha"]
    assert "another input" in folder.of(Warned)[0].message
    np.testing.assert_array_equal(folder.labels("a.mha"), array > 0)


def test_outputs_remember_the_image_they_came_from(folder):
    """A mask that was renewed alone must not make old logits look fresh."""
    import zarr

    folder.scan("a.mha", 0)
    folder.run(save_logits=True)
    array = folder.scan("a.mha", 5)
    assert folder.run().done == ["a.mha"]
    assert any("a.zarr stays" in event.message for event in folder.of(Warned))
    assert folder.run(save_logits=True).done == ["a.mha"]
    np.testing.assert_array_equal(zarr.open_array(folder.output / "a.zarr", mode="r")[1], array)
    assert folder.run(save_logits=True).skipped == {"a.mha": "already done"}
    folder.run(format="nii")
    folder.scan("a.mha", 6)
    folder.run()
    assert folder.run(format="nii").done == ["a.mha"]


def test_an_edited_mask_is_kept_until_overwrite(folder):
    array = folder.scan("a.nii.gz")
    folder.run()
    edited = sitk.ReadImage(str(folder.output / "a.nii.gz"))
    edited[0, 0, 0] = 7
    sitk.WriteImage(edited, str(folder.output / "a.nii.gz"))
    summary = folder.run(orientation="RAS")
    assert "a.nii.gz" in summary.skipped
    assert "somebody else" in folder.of(CaseSkipped)[0].reason
    assert folder.labels("a.nii.gz")[0, 0, 0] == 7
    assert folder.run(overwrite=True).done == ["a.nii.gz"]
    np.testing.assert_array_equal(folder.labels("a.nii.gz"), array > 0)


def test_a_foreign_file_is_kept(folder):
    folder.scan("a.mha")
    folder.output.mkdir()
    (folder.output / "a.mha").write_text("mine")
    assert "somebody else" in folder.run().skipped["a.mha"]
    assert (folder.output / "a.mha").read_text() == "mine"


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


def test_one_spreadsheet_for_all_runs(folder):
    folder.scan("a.mha", 0)
    folder.run(save_conf=True)
    folder.scan("b.mha", 1)
    folder.run(save_conf=True)
    folder.run(save_conf=True)
    rows = list(load_workbook(folder.output / "confidences.xlsx").active.values)
    assert rows[0][:3] == ("file", "confidence", "foreground confidence")
    assert {row[0] for row in rows[1:]} == {"a.mha", "b.mha"}


def test_an_edited_spreadsheet_is_kept(folder):
    folder.scan("a.mha", 0)
    folder.run(save_conf=True)
    (folder.output / "confidences.xlsx").write_text("notes")
    folder.scan("b.mha", 1)
    folder.run(save_conf=True)
    assert (folder.output / "confidences.xlsx").read_text() == "notes"
    assert any("confidences.xlsx" in event.message for event in folder.of(Warned))


def test_recursive_outputs_keep_their_folders(folder):
    one, two = folder.scan("x/a.mha", 0), folder.scan("y/a.mha", 1)
    folder.run(recursive=True)
    np.testing.assert_array_equal(folder.labels("x/a.mha"), one > 0)
    np.testing.assert_array_equal(folder.labels("y/a.mha"), two > 0)


@pytest.mark.parametrize(
    ("asked", "name"),
    [("nii", "a.nii"), ("mha", "a.mha"), ("nrrd", "a.nrrd"), ("seg.nrrd", "a.seg.nrrd"), ("same", "a.nii.gz")],
)
def test_formats(folder, asked, name):
    array = folder.scan("a.nii.gz")
    folder.run(format=asked)
    np.testing.assert_array_equal(folder.labels(name), array > 0)


def test_a_header_apart_from_its_voxels_becomes_one_file(folder):
    folder.scan("a.mhd")
    folder.scan("b.nhdr", 1)
    folder.run()
    assert {"a.mha", "b.nrrd"} <= set(folder.names())


def test_overlapping_labels_get_layers_in_seg_nrrd(folder):
    array = folder.scan("a.mha")
    folder.run(lambda w: np.concatenate([w, w - 50], axis=1), spec=THRESHOLD, format="seg.nrrd")
    layers = folder.labels("a.seg.nrrd")
    assert layers.shape == (6, 7, 8, 2)
    np.testing.assert_array_equal(
        np.count_nonzero(layers, axis=(0, 1, 2)), [(array > 0).sum(), (array > 50).sum()]
    )


def test_channels_must_lie_on_one_grid(folder):
    spec = parse_spec({"input": {"channels": ["T1", "T2"]}}, "t")
    folder.scan("p_0000.mha", 0)
    folder.scan("p_0001.mha", 1)
    folder.scan("q_0000.mha", 2)
    folder.scan("q_0001.mha", 3, size=(6, 7, 9))
    summary = folder.run(lambda w: w, spec=spec)
    assert summary.done == ["p.mha"]
    assert "another grid" in summary.failed["q.mha"]


def test_small_volumes_are_padded_as_the_spec_says_and_cropped(folder):
    array = folder.scan("a.mha", size=(3, 4, 5))
    seen = []

    def watch(windows):
        seen.append(windows.copy())
        return np.concatenate([-windows, windows], axis=1)

    spec = parse_spec({"window": {"patch_size": [8, 8, 8]}, "input": {"padding": {"value": 9}}}, "t")
    folder.run(watch, spec=spec)
    assert seen[0].shape == (1, 1, 8, 8, 8)
    assert (seen[0][0, 0, :2] == 9).all()  # 5 missing: 2 before, 3 after
    assert (seen[0][0, 0, 5:] == 9).all()
    np.testing.assert_array_equal(folder.labels("a.mha"), array > 0)


def test_an_interrupted_run_is_finished_by_the_next(folder):
    for index in range(5):
        folder.scan(f"{index}.mha", index)
    interrupt = interrupt_at(lambda event: isinstance(event, Progress) and len(folder.of(CaseDone)) == 2)
    summary = folder.run(on_event=interrupt, save_conf=True)
    assert (len(summary.done), summary.exit_code) == (2, 130)
    assert not [name for name in folder.names() if "partial" in name or name == LOCK]
    assert states(folder)["2.mha"] == "interrupted"
    summary = folder.run(save_conf=True)
    assert (len(summary.done), len(summary.skipped), summary.exit_code) == (3, 2, 0)
    assert len(list(load_workbook(folder.output / "confidences.xlsx").active.values)) == 6


class Killed(BaseException):
    """As a kill: nothing in the program catches it."""


def run_until_the_ledger(folder, monkeypatch):
    """A run that is killed after its first mask got its name, and before the ledger knew."""

    def die(*args):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "finish", die)
        with pytest.raises(Killed):
            folder.run()


def test_a_crash_between_commit_and_ledger_is_not_taken_for_an_edit(folder, monkeypatch):
    array = folder.scan("a.mha")
    run_until_the_ledger(folder, monkeypatch)
    assert (folder.output / "a.mha").exists()
    summary = folder.run()
    assert summary.done == ["a.mha"]
    assert "interrupted run" in folder.of(Warned)[0].message
    np.testing.assert_array_equal(folder.labels("a.mha"), array > 0)
    assert not [name for name in folder.names() if name.startswith(".")]


def test_a_mask_drawn_by_hand_after_a_crash_is_kept(folder, monkeypatch):
    folder.scan("a.mha")
    run_until_the_ledger(folder, monkeypatch)
    (folder.output / "a.mha").write_text("by hand")
    assert "somebody else" in folder.run().skipped["a.mha"]


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


def test_overwrite_says_that_older_logits_stay(folder):
    folder.scan("a.mha")
    folder.run(save_logits=True)
    folder.run(overwrite=True)
    assert any("a.zarr stays" in event.message for event in folder.of(Warned))
    assert not any("computed again" in event.message for event in folder.of(Warned))


def test_logits_are_filled_in_beside_an_edited_mask(folder):
    folder.scan("a.mha")
    folder.run()
    edited = sitk.ReadImage(str(folder.output / "a.mha"))
    edited[0, 0, 0] = 7
    sitk.WriteImage(edited, str(folder.output / "a.mha"))
    assert folder.run(save_logits=True).done == ["a.mha"]
    assert (folder.output / "a.zarr").exists()
    assert folder.labels("a.mha")[0, 0, 0] == 7
    assert any("kept" in event.message for event in folder.of(Warned))


def test_a_case_that_is_as_it_was_is_done_again_in_the_ledger(folder):
    folder.scan("a.mha")
    good = (folder.source / "a.mha").read_bytes()
    folder.run()
    (folder.source / "a.mha").write_bytes(good[: len(good) // 2])
    assert folder.run().exit_code == 4
    (folder.source / "a.mha").write_bytes(good)
    assert folder.run().skipped == {"a.mha": "already done"}
    assert states(folder) == {"a.mha": "done"}


def test_a_listener_that_left_does_not_fail_a_case(folder):
    folder.scan("a.mha")
    folder.scan("b.mha", 1)

    def gone(event):
        raise BrokenPipeError

    summary = folder.run(on_event=gone)
    assert (len(summary.done), summary.exit_code) == (2, 0)
    assert set(states(folder).values()) == {"done"}


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_a_lock_that_is_no_file_is_refused_at_once(folder, kind):
    folder.scan("a.mha")
    folder.output.mkdir()
    lock = folder.output / LOCK
    lock.symlink_to("nowhere") if kind == "link" else lock.mkdir()
    with pytest.raises(ConfigError, match="is no lock file"):
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


def test_stale_partials_are_swept(folder):
    folder.scan("a.mha")
    folder.output.mkdir()
    partial = folder.output / ".partial-0123456789ab.a.mha"
    partial.touch()
    folder.run()
    assert not partial.exists()


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


def test_the_ledger_tells_the_whole_story(folder):
    folder.scan("a.mha")
    (folder.source / "b.mha").touch()
    folder.run(save_logits=True)
    with sqlite3.connect(folder.output / "itk_infer.db") as db:
        runs = db.execute("SELECT exit_code, about FROM runs").fetchall()
        cases = dict(db.execute("SELECT name, results FROM cases").fetchall())
        outputs = dict(db.execute("SELECT path, kind FROM outputs").fetchall())
    db.close()
    assert runs[0][0] == 3
    assert json.loads(runs[0][1])["versions"]["itk_infer"]
    results = json.loads(cases["a.mha"])
    assert results["findings"][0]["voxels"] == np.count_nonzero(folder.labels("a.mha"))
    assert set(results["seconds"]) == {"read", "prepare", "network", "engine", "write"}
    assert outputs == {"a.mha": "labels", "a.zarr": "logits", "labels.csv": "derived"}


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
    with pytest.raises(ConfigError, match="a row that nobody can read"):
        folder.run()


def test_inputs_are_never_modified(folder):
    folder.scan("a.nii.gz")
    before = (folder.source / "a.nii.gz").read_bytes()
    shutil.copystat(folder.source / "a.nii.gz", folder.source / "a.nii.gz")
    folder.run(save_logits=True, save_conf=True)
    assert (folder.source / "a.nii.gz").read_bytes() == before
    assert [path.name for path in folder.source.iterdir()] == ["a.nii.gz"]


def test_packages_on_record_exist():
    assert "numpy" in PACKAGES


# --- the same names from two places -------------------------------------------------------------------


def two_sources(folder, suffix="mha"):
    """A result of one place, and another image of the same name elsewhere, which is the input now."""
    first = folder.scan(f"a.{suffix}", 0)
    folder.run(save_logits=True)
    earlier = folder.source / f"a.{suffix}"
    folder.source = folder.source.parent / "second"
    folder.source.mkdir()
    return earlier, first


def test_a_result_of_another_image_is_not_replaced(folder):
    earlier, first = two_sources(folder)
    folder.scan("a.mha", 1)
    folder.scan("b.mha", 2)
    summary = folder.run()
    assert (summary.done, summary.exit_code) == (["b.mha"], 3)
    assert f"a.mha is the result of another image, {earlier}; " in summary.failed["a.mha"]
    np.testing.assert_array_equal(folder.labels("a.mha"), first > 0)
    assert states(folder) == {"a.mha": "failed", "b.mha": "done"}


def test_nor_are_its_logits(folder):
    earlier, _ = two_sources(folder)
    folder.scan("a.mha", 1)
    (folder.output / "a.mha").unlink()
    summary = folder.run(save_logits=True)
    assert f"a.zarr is the result of another image, {earlier}; " in summary.failed["a.mha"]


def test_overwrite_replaces_it_and_names_the_earlier_image(folder):
    earlier, _ = two_sources(folder)
    array = folder.scan("a.mha", 1)
    assert folder.run(overwrite=True).done == ["a.mha"]
    assert any(str(earlier) in event.message for event in folder.of(Warned))
    np.testing.assert_array_equal(folder.labels("a.mha"), array > 0)


def test_removing_the_result_settles_it(folder):
    two_sources(folder)
    array = folder.scan("a.mha", 1)
    (folder.output / "a.mha").unlink()
    assert folder.run().done == ["a.mha"]
    np.testing.assert_array_equal(folder.labels("a.mha"), array > 0)


def test_another_name_that_would_write_the_same_file(folder):
    """One image after the other, each given alone: a.mha and a.nii both write a.nii."""
    folder.scan("a.mha", 0)
    folder.scan("a.nii", 1)
    both = folder.source
    folder.source = both / "a.mha"
    folder.run(format="nii")
    folder.source = both / "a.nii"
    assert "is the result of another image" in folder.run(format="nii").failed["a.nii"]


def test_an_image_that_was_withdrawn_is_named_and_replaced(folder):
    earlier, _ = two_sources(folder)
    array = folder.scan("a.mha", 1)
    earlier.unlink()  # its folder is there: nothing was unmounted
    assert folder.run().done == ["a.mha"]
    assert any(f"was made with another input, {earlier}" in event.message for event in folder.of(Warned))
    np.testing.assert_array_equal(folder.labels("a.mha"), array > 0)


def test_a_folder_that_is_gone_may_come_back(folder):
    earlier, _ = two_sources(folder)
    folder.scan("a.mha", 1)
    shutil.rmtree(earlier.parent)
    assert folder.run().exit_code == 4


def test_the_same_image_elsewhere_is_the_same(folder):
    earlier, _ = two_sources(folder)
    shutil.copyfile(earlier, folder.source / "a.mha")
    assert folder.run().skipped == {"a.mha": "already done"}


def test_another_way_to_the_same_folder_is_no_other_image(folder, monkeypatch):
    folder.scan("a.mha", 0)
    folder.run()
    (folder.source.parent / "link").symlink_to(folder.source, target_is_directory=True)
    real, folder.source = folder.source, folder.source.parent / "link"
    array = folder.scan("a.mha", 1)
    assert folder.run().done == ["a.mha"]
    monkeypatch.chdir(real.parent)
    folder.source = real.relative_to(real.parent)
    array = folder.scan("a.mha", 2)
    assert folder.run().done == ["a.mha"]
    np.testing.assert_array_equal(folder.labels("a.mha"), array > 0)


def test_relative_paths_of_two_working_folders_are_two_images(folder, monkeypatch):
    for seed, place in enumerate(("x", "y")):
        write_scan(folder.source / place / "scans" / "a.mha", seed)
    folder.source, root = Path("scans"), folder.source
    monkeypatch.chdir(root / "x")
    assert folder.run().done == ["a.mha"]
    monkeypatch.chdir(root / "y")
    assert str(root / "x" / "scans" / "a.mha") in folder.run().failed["a.mha"]


# --- an output folder that vanishes -------------------------------------------------------------------


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


# --- names in sentences -------------------------------------------------------------------------------


def test_a_warning_names_its_file_once(folder):
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 9, (4, 5, 6)).astype(np.int16))
    sitk.WriteImage(image, str(folder.source / "a.mha"))
    text = (folder.source / "a.mha").read_bytes().replace(b"TransformMatrix = 1 0 0 0 1 0 0 0 1\n", b"")
    (folder.source / "a.mha").write_bytes(text)
    (folder.source / "sub").mkdir()
    (folder.source / "sub" / "a.mha").write_bytes(text)
    folder.run(recursive=True)
    assert sorted(event.message for event in folder.of(Warned)) == [
        "a.mha: stores no orientation; its axes are taken as they are",
        "sub/a.mha: stores no orientation; its axes are taken as they are",
    ]


def test_a_failure_names_the_channel_that_is_broken_and_no_other_name_twice(folder):
    spec = parse_spec({"input": {"channels": ["T1", "T2"]}}, "t")
    folder.scan("p_0000.mha", 0)
    (folder.source / "p_0001.mha").mkdir()
    assert folder.run(lambda w: w, spec=spec).failed["p.mha"].startswith(str(folder.source / "p_0001.mha"))
    (folder.source / "p_0001.mha").rmdir()
    (folder.source / "p_0000.mha").unlink()
    (folder.source / "a.mha").mkdir()
    assert folder.run().failed["a.mha"] == "is a folder; an image file is needed"


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


def test_results_that_are_older_than_an_option_were_made_with_its_default(folder):
    folder.scan("a.mha")
    folder.run()
    with contextlib.closing(sqlite3.connect(folder.output / "itk_infer.db")) as ledger, ledger:
        ledger.execute("UPDATE outputs SET identity = json_remove(identity, '$.tta', '$.skip_empty')")
        assert ledger.execute("SELECT count(*) FROM outputs WHERE identity LIKE '%tta%'").fetchone() == (0,)
    assert folder.run().skipped == {"a.mha": "already done"}
