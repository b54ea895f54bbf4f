"""-o may name one file: that very file is written, or it is said beforehand why not."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import zarr
from support.folders import write_scan

from itk_infer.errors import ConfigError
from itk_infer.events import CaseSkipped, Events, Warned
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.predictor import Predictor
from itk_infer.run.destination import with_destination
from itk_infer.run.folder import run_folder
from itk_infer.run.settings import RunSettings
from itk_infer.run.shard import Shard


@pytest.fixture
def scan(tmp_path):
    array = write_scan(tmp_path / "scans" / "a.nii.gz")
    return tmp_path / "scans" / "a.nii.gz", array


def run(source, output, *, orientation="LPI", listener=None, **options):
    settings = with_destination(RunSettings(source, output, **options))
    predictor = Predictor(FakeBackend(), orientation=orientation)
    return run_folder(predictor, settings, Events([listener] if listener else []))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["seg.nii.gz", "seg.nii", "seg.mha", "seg.nrrd", "a.b.seg.nrrd"])
def test_that_very_file_is_written_and_nothing_else(tmp_path, scan, name):
    source, array = scan
    summary = run(source, tmp_path / "new" / name)
    assert (summary.done, summary.exit_code) == (["a.nii.gz"], 0)
    assert names(tmp_path / "new") == [name]
    path = tmp_path / "new" / name
    labels = (
        np.asarray(nib.load(path).dataobj).T
        if "nii" in name
        else sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    )
    np.testing.assert_array_equal(labels, array > 0)
    assert (b"Segment0_ID" in path.read_bytes()) == name.endswith(".seg.nrrd")


def test_it_may_lie_beside_the_input(scan):
    source, _ = scan
    before = source.read_bytes()
    assert run(source, source.with_name("a_seg.nii.gz")).exit_code == 0
    assert names(source.parent) == ["a.nii.gz", "a_seg.nii.gz"]
    assert source.read_bytes() == before
    # and is no scan of the next run
    summary = run_folder(Predictor(FakeBackend()), RunSettings(source.parent, source.parent / "masks"))
    assert (summary.done, list(summary.skipped)) == (["a.nii.gz"], ["a_seg.nii.gz"])


def test_logits_lie_beside_it(tmp_path, scan):
    source, array = scan
    run(source, tmp_path / "out" / "x.seg.nrrd", save_logits=True)
    assert names(tmp_path / "out") == ["x.seg.nrrd", "x.zarr"]
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "out" / "x.zarr", mode="r")[1], array)


def test_what_is_there_is_kept_until_overwrite(tmp_path, scan):
    source, array = scan
    path = tmp_path / "seg.nii.gz"
    path.write_text("mine")
    events = []
    summary = run(source, path, listener=events.append)
    assert (summary.done, summary.exit_code) == ([], 0)
    assert path.read_text() == "mine"
    (skipped,) = [event for event in events if isinstance(event, CaseSkipped)]
    assert skipped.reason == f"kept {path}: it was there before; `overwrite` replaces it"
    assert run(source, path, overwrite=True).done == ["a.nii.gz"]
    np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj).T, array > 0)
    before = path.stat()
    assert list(run(source, path).skipped) == ["a.nii.gz"]
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_missing_logits_are_filled_in(tmp_path, scan):
    source, _ = scan
    run(source, tmp_path / "seg.mha")
    events = []
    assert run(source, tmp_path / "seg.mha", save_logits=True, listener=events.append).done == ["a.nii.gz"]
    assert (tmp_path / "seg.zarr").is_dir()
    assert any("kept" in event.message for event in events if isinstance(event, Warned))


def test_a_case_that_fails_leaves_no_file(tmp_path, scan):
    source, _ = scan
    source.write_bytes(b"broken")
    assert run(source, tmp_path / "out" / "seg.nii.gz").exit_code == 4
    assert names(tmp_path / "out") == []


def test_only_its_own_leftovers_are_swept(tmp_path, scan):
    """Other runs may write other files of the folder at the same time."""
    source, _ = scan
    ours = [f".partial-0123456789ab.seg.{ending}" for ending in ("nii.gz", "zarr")]
    theirs = [".partial-0123456789ab.other.nii.gz", ".partial-0123456789ab.seg.nii"]
    (tmp_path / "out").mkdir()
    for name in (*ours, *theirs):
        (tmp_path / "out" / name).touch()
    run(source, tmp_path / "out" / "seg.nii.gz")
    assert names(tmp_path / "out") == sorted([*theirs, "seg.nii.gz"])


def test_a_ledger_of_the_folder_is_left_alone(tmp_path, scan):
    source, _ = scan
    run(source, tmp_path / "masks")
    before = {path.name: path.read_bytes() for path in (tmp_path / "masks").iterdir()}
    run(source, tmp_path / "masks" / "other.nii.gz")
    after = {path.name: path.read_bytes() for path in (tmp_path / "masks").iterdir()}
    assert after.pop("other.nii.gz")
    assert after == before


REFUSED = {
    "folder of images": (
        "scans",
        "seg.nii.gz",
        {},
        "scans` is a folder; give `output` a folder, or `input` one image",
    ),
    "a folder of that name": ("scans/a.nii.gz", "folder.nii", {}, "there is a folder of that name"),
    "another format": ("scans/a.nii.gz", "seg.nii.gz", {"format": "mha"}, "`format=mha` is another one"),
    "nrrd is not seg.nrrd": ("scans/a.nii.gz", "a.seg.nrrd", {"format": "nrrd"}, "`format=nrrd` is another one"),
    "upper case": ("scans/a.nii.gz", "seg.NII.GZ", {}, "in lower case: .nii.gz"),
    "the input": ("scans/a.nii.gz", "scans/a.nii.gz", {}, "which is the input"),
    "a spreadsheet": ("scans/a.nii.gz", "seg.nii", {"save_conf": True}, "leave `save_conf` out"),
    "a shard": ("scans/a.nii.gz", "seg.nii", {"shard": Shard(1, 2)}, "leave `shard` out"),
    "two files": ("scans/a.nii.gz", "seg.mhd", {}, "end it in .mha"),
    "packed": ("scans/a.nii.gz", "seg.nii.bz2", {}, "not written as .bz2"),
    "a picture": ("scans", "seg.jpg", {}, "not written as .jpg"),
    "freesurfer": ("scans/a.nii.gz", "seg.mgz", {}, "not written as .mgz"),
    "a pair": ("scans/a.nii.gz", "seg.hdr", {}, "not written as .hdr"),
    "dicom": ("scans/a.nii.gz", "seg.dcm", {}, "not written as .dcm"),
    "a table": ("scans", "seg.csv", {}, "not written as .csv"),
    "no stem": ("scans/a.nii.gz", ".nii.gz", {}, "not written as .gz"),
    "a file": ("scans", "file", {}, "file is a file; give a folder"),
    "in a file": ("scans", "file/sub", {}, "file is a file; give a folder"),
    "a file in a file": ("scans/a.nii.gz", "file/seg.nii", {}, "file is a file; give a folder"),
    "a dead link": ("scans", "link", {}, "leads nowhere"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_refused_before_anything_is_computed(tmp_path, scan, why):
    source, output, options, words = REFUSED[why]
    (tmp_path / "file").touch()
    (tmp_path / "folder.nii").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match="`output=") as caught:
        with_destination(RunSettings(tmp_path / source, tmp_path / output, **options))
    assert words in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["masks", "v1.0", "2024.01.02", "a.b", "masks.d", "exists.zip", "exists.gif"])
def test_folders_stay_folders(tmp_path, scan, name):
    if name.startswith("exists"):
        (tmp_path / name).mkdir()
    settings = RunSettings(tmp_path / "scans", tmp_path / name)
    assert with_destination(settings) == settings


def test_a_format_that_agrees_is_no_contradiction(tmp_path, scan):
    source, _ = scan
    found = with_destination(RunSettings(source, tmp_path / "x.seg.nrrd", format="seg.nrrd"))
    assert (found.output, found.file_name, found.format) == (tmp_path, "x.seg.nrrd", "seg.nrrd")


def test_one_case_of_several_channels(tmp_path):
    from itk_infer.spec import parse_spec

    for channel in range(2):
        write_scan(tmp_path / "scans" / f"p_000{channel}.mha", channel)
    spec = parse_spec({"input": {"channels": ["a", "b"], "orientation": "LPI"}}, "test")
    settings = with_destination(RunSettings(tmp_path / "scans" / "p_0000.mha", tmp_path / "out.mha"))
    summary = run_folder(Predictor(FakeBackend(lambda windows: windows, spec)), settings)
    assert summary.done == ["p.mha"]
    assert (tmp_path / "out.mha").is_file()
