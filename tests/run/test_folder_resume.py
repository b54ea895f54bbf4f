"""Runs one after another: what is up to date, what is computed again, and what was changed by hand."""

from __future__ import annotations

import contextlib
import os
import sqlite3

import numpy as np
import pytest
import SimpleITK as sitk
from openpyxl import load_workbook

from itk_infer.events import (
    CaseDone,
    CaseFailed,
    CaseSkipped,
    Progress,
    Warned,
)
from itk_infer.run.ledger import Ledger
from itk_infer.run.lock import NAME as LOCK
from itk_infer.spec import parse_spec
from itk_infer.testing.faulty import interrupt_at


def test_a_second_run_does_nothing_and_a_new_case_only_itself(folder):
    folder.scan("a.mha")
    folder.run()
    before = (folder.output / "a.mha").stat()
    folder.scan("b.mha", 1)
    summary = folder.run()
    assert (summary.done, summary.skipped) == (["b.mha"], {"a.mha": "already done"})
    assert (folder.output / "a.mha").stat() == before


def test_failed_cases_are_tried_again_by_the_next_run(folder):
    folder.scan("a.mha")
    folder.run(lambda windows: np.full((1, 2, 6, 7, 8), np.nan, np.float32))
    assert "NaN" in folder.of(CaseFailed)[0].reason
    summary = folder.run()
    assert summary.done == ["a.mha"]
    assert folder.states() == {"a.mha": "done"}


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
    assert "another program" in folder.of(CaseSkipped)[0].reason
    assert folder.labels("a.nii.gz")[0, 0, 0] == 7
    assert folder.run(overwrite=True).done == ["a.nii.gz"]
    np.testing.assert_array_equal(folder.labels("a.nii.gz"), array > 0)


def test_a_foreign_file_is_kept(folder):
    folder.scan("a.mha")
    folder.output.mkdir()
    (folder.output / "a.mha").write_text("mine")
    assert "another program" in folder.run().skipped["a.mha"]
    assert (folder.output / "a.mha").read_text() == "mine"


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


def test_an_interrupted_run_is_finished_by_the_next(folder):
    for index in range(5):
        folder.scan(f"{index}.mha", index)
    interrupt = interrupt_at(lambda event: isinstance(event, Progress) and len(folder.of(CaseDone)) == 2)
    summary = folder.run(on_event=interrupt, save_conf=True)
    assert (len(summary.done), summary.exit_code) == (2, 130)
    assert not [name for name in folder.names() if "partial" in name or name == LOCK]
    assert folder.states()["2.mha"] == "interrupted"
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
    assert "another program" in folder.run().skipped["a.mha"]


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
    assert folder.states() == {"a.mha": "done"}


def test_stale_partials_are_swept(folder):
    folder.scan("a.mha")
    folder.output.mkdir()
    partial = folder.output / ".partial-0123456789ab.a.mha"
    partial.touch()
    folder.run()
    assert not partial.exists()


def test_results_that_are_older_than_an_option_were_made_with_its_default(folder):
    folder.scan("a.mha")
    folder.run()
    with contextlib.closing(sqlite3.connect(folder.output / "itk_infer.db")) as ledger, ledger:
        ledger.execute("UPDATE outputs SET identity = json_remove(identity, '$.tta', '$.skip_empty')")
        assert ledger.execute("SELECT count(*) FROM outputs WHERE identity LIKE '%tta%'").fetchone() == (0,)
    assert folder.run().skipped == {"a.mha": "already done"}
