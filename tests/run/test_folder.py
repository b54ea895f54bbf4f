"""A run over a folder: its outputs, events and summary, and cases that fail."""

from __future__ import annotations

import json
import os
import sqlite3

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.events import (
    CaseDone,
    CaseFailed,
    CaseStarted,
    Progress,
    RunDone,
    RunStarted,
    Warned,
)
from itk_infer.run.about import PACKAGES
from itk_infer.spec import parse_spec

THRESHOLD = parse_spec({"output": {"decision": "threshold"}, "input": {"orientation": "LPI"}}, "test")


def test_labels_are_what_the_network_says(folder):
    array = folder.scan("a.nii.gz")
    summary = folder.run()
    assert (summary.done, summary.failed, summary.exit_code) == (["a.nii.gz"], {}, 0)
    np.testing.assert_array_equal(folder.labels("a.nii.gz"), (array > 0).astype(np.uint8))
    assert folder.names() == ["a.nii.gz", "itk_infer.db", "labels.csv"]
    assert folder.states() == {"a.nii.gz": "done"}


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
    assert set(folder.states().values()) == {"done", "failed"}
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


def test_logits_agree_with_the_labels(folder):
    import zarr

    array = folder.scan("a.nii.gz")
    folder.run(save_logits=True)
    logits = zarr.open_array(folder.output / "a.zarr", mode="r")
    assert logits.shape == (2, 6, 7, 8)
    np.testing.assert_array_equal(logits[1], array.astype(np.float16))
    np.testing.assert_array_equal(np.argmax(logits[:], axis=0), folder.labels("a.nii.gz"))


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


def test_a_listener_that_left_does_not_fail_a_case(folder):
    folder.scan("a.mha")
    folder.scan("b.mha", 1)

    def gone(event):
        raise BrokenPipeError

    summary = folder.run(on_event=gone)
    assert (len(summary.done), summary.exit_code) == (2, 0)
    assert set(folder.states().values()) == {"done"}


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


def test_packages_on_record_exist():
    assert "numpy" in PACKAGES


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
