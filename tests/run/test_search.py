"""No image is passed over without a word, and no result of an earlier run is taken for a scan."""

from __future__ import annotations

import bz2
import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from support.folders import write_scan

from itk_infer.errors import NoInputError
from itk_infer.events import CaseSkipped, RunDone, RunStarted, Warned
from itk_infer.run.cases import find_cases
from itk_infer.run.ledger import Ledger
from itk_infer.run.status import folder_status
from itk_infer.spec import InputSpec, parse_spec

TWO_CHANNELS = parse_spec({"input": {"channels": ["T1", "T2"], "orientation": "LPI"}}, "test")


def find(source, *, recursive=False, channels=1):
    return find_cases(source, source.parent / "masks", recursive=recursive, wanted=InputSpec(("",) * channels))


def passed(source, **options):
    return {item.name: item.reason for item in find(source, **options).passed}


def label_map(path, value=1):
    """A label map that says so, by nibabel."""
    image = nib.Nifti1Image(np.full((8, 7, 6), value, np.uint8), np.diag([-1.0, -1, 1, 1]))
    image.header.set_intent("label")
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)


@pytest.fixture
def unread(folder):
    """One scan among images of other kinds, and files that are none."""
    folder.scan("a.nii.gz")
    image = nib.load(folder.source / "a.nii.gz")
    voxels = np.asarray(image.dataobj)
    nib.save(nib.MGHImage(voxels.astype(np.float32), image.affine), folder.source / "b.mgz")
    nib.save(nib.Nifti1Pair(voxels, image.affine), folder.source / "c.img")
    (folder.source / "d.nii.bz2").write_bytes(bz2.compress(image.to_bytes()))
    for index in range(4):
        (folder.source / f"slice{index}.dcm").write_bytes(bytes(128) + b"DICM")
    (folder.source / "nameless").write_bytes(image.to_bytes())
    for name in ("a.json", "a.bval", "notes.txt", "README", ".DS_Store", "._b.mgz"):
        (folder.source / name).write_text("no image")
    return folder


NAMES = ["b.mgz", "c.hdr", "d.nii.bz2", "nameless", "slice0.dcm"]


def test_every_unread_image_ends_as_skipped(unread):
    summary = unread.run()
    assert (summary.done, summary.failed, summary.exit_code) == (["a.nii.gz"], {}, 0)
    assert sorted(summary.skipped) == sorted(summary.passed_over) == NAMES
    assert "mri_convert" in summary.skipped["b.mgz"]
    assert "4 files" in summary.skipped["slice0.dcm"]
    assert {event.case: event.sort for event in unread.of(CaseSkipped)} == dict.fromkeys(NAMES, "unread")
    (started,), (done,) = unread.of(RunStarted), unread.of(RunDone)
    assert (started.cases, started.skipped, done.done, done.skipped) == (6, 5, 1, 5)
    status = folder_status(unread.output)
    assert status["states"]["skipped"] == 5
    assert sorted(status["skipped"]) == NAMES


def test_they_are_named_once_in_one_sentence(unread):
    unread.run()
    (warning,) = unread.of(Warned)
    assert warning.message.startswith("skipped 9 files that are not read: ")
    for words in (
        "b.mgz (a FreeSurfer volume",
        "c.hdr (an Analyze",
        "slice0.dcm and 3 more (damaged DICOM",
        "nameless (",
    ):
        assert words in warning.message
    for words in ("json", "bval", "txt", "README", "DS_Store"):
        assert words not in warning.message


def test_sub_folders_are_looked_at_likewise(unread):
    shutil.move(unread.source / "b.mgz", unread.source.joinpath("sub").mkdir() or unread.source / "sub" / "b.mgz")
    assert "sub/b.mgz" not in passed(unread.source)
    assert "sub/b.mgz" in passed(unread.source, recursive=True)


def test_nothing_that_can_be_read_names_what_there_is(unread):
    (unread.source / "a.nii.gz").unlink()
    with pytest.raises(NoInputError, match=r"No input files found.*skipped 9 files.*b\.mgz.*mri_convert"):
        unread.run()
    assert not unread.output.exists()
    with pytest.raises(NoInputError, match=r"b\.mgz: looked for.*mri_convert"):
        find(unread.source / "b.mgz")


def test_a_failed_case_beside_unread_ones_is_all_failed(unread):
    (unread.source / "a.nii.gz").write_bytes(b"broken")
    assert unread.run().exit_code == 4


def test_data_of_a_detached_header_is_no_file_of_its_own(folder):
    image = sitk.GetImageFromArray(np.zeros((4, 5, 6), np.int16))
    for name in ("a.mhd", "b.nhdr"):
        sitk.WriteImage(image, str(folder.source / name))
        sitk.WriteImage(image, str(folder.source / f"packed_{name}"), useCompression=True)
    header = (folder.source / "a.mhd").read_text()
    (folder.source / "c.mhd").write_text(header.replace("a.raw", "c.img"))
    shutil.copyfile(folder.source / "a.raw", folder.source / "c.img")
    assert passed(folder.source) == {}
    (folder.source / "b.raw").rename(folder.source / "lost.raw")
    for header in folder.source.glob("*hd*"):
        header.unlink()
    folder.scan("scan.nii")
    assert {"lost.raw", "a.raw"} <= set(passed(folder.source))


def test_shards_share_the_unread_ones(unread):
    from itk_infer.run.settings import RunSettings
    from itk_infer.run.shard import Shard

    for name in ("b.nii.gz", "c.nii.gz"):
        unread.scan(name)
    parts = [RunSettings(unread.source, unread.output, shard=Shard(i, 2)).find_inputs(InputSpec()) for i in (1, 2)]
    assert sorted(item.name for part in parts for item in part.passed) == NAMES
    assert [len(part.cases) for part in parts] == [2, 1]


# --- results and label maps ---------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["nii.gz", "nii", "mha", "nrrd", "seg.nrrd"])
def test_results_of_another_model_are_no_scans(folder, suffix):
    folder.scan("a.nii.gz")
    folder.scan("sub/b.nii.gz", 1)
    folder.output = folder.source / "model_a"
    folder.run(recursive=True, format=suffix, save_logits=True)
    folder.output = folder.source / "model_b"
    summary = folder.run(recursive=True, orientation="RAS")
    assert sorted(summary.done) == ["a.nii.gz", "sub/b.nii.gz"]
    results = [f"model_a/{name}.{ending}" for name in ("a", "sub/b") for ending in (suffix, "zarr")]
    assert sorted(summary.skipped) == sorted(results)
    assert folder.of(Warned)[0].message.startswith("skipped 4 label maps or earlier results: ")
    assert {event.sort for event in folder.of(CaseSkipped)} == {"labels"}


@pytest.mark.parametrize("suffix", ["nii.gz", "nii", "mha", "nrrd", "seg.nrrd"])
def test_results_are_known_without_their_ledger(folder, suffix):
    folder.scan("a.nii.gz")
    folder.run(format=suffix, save_logits=True)
    (folder.output / "itk_infer.db").unlink()
    folder.output.rename(folder.source / "masks")
    assert sorted(passed(folder.source, recursive=True)) == sorted(["masks/a.zarr", f"masks/a.{suffix}"])


def test_a_ledger_knows_results_that_bear_no_mark(folder):
    folder.scan("a.mha")
    folder.run()
    write_scan(folder.output / "a.mha")  # as an editor may save it
    write_scan(folder.output / "scan.mha")
    found = find(folder.output)
    assert [case.name for case in found.cases] == ["scan.mha"]
    assert [item.name for item in found.passed] == ["a.mha"]
    (folder.output / "itk_infer.db").write_bytes(b"damaged")
    assert [case.name for case in find(folder.output).cases] == ["a.mha", "scan.mha"]


def test_a_folder_of_masks_holds_no_input(folder):
    folder.scan("a.mha")
    folder.run()
    folder.source, folder.output = folder.output, folder.output.parent / "other"
    with pytest.raises(NoInputError, match="skipped 1 label map or earlier result: a.mha"):
        folder.run()


def test_label_maps_of_others_are_skipped_and_the_one_named_is_taken(folder):
    folder.scan("a.nii.gz")
    label_map(folder.source / "b.nii.gz")
    summary = folder.run()
    assert (summary.done, list(summary.skipped)) == (["a.nii.gz"], ["b.nii.gz"])
    folder.source = folder.source / "b.nii.gz"
    assert folder.run().done == ["b.nii.gz"]
    (warning,) = folder.of(Warned)
    assert "taken as images" in warning.message
    assert "b.nii.gz (marked as a label map" in warning.message


def test_a_label_map_does_not_hinder_the_scan_of_its_name(folder):
    folder.scan("a.nii")
    label_map(folder.source / "a.nii.gz")
    assert folder.run().done == ["a.nii"]


def test_a_channel_may_be_a_label_map(folder):
    folder.scan("p_0000.nii.gz")
    label_map(folder.source / "p_0001.nii.gz")
    image = sitk.ReadImage(str(folder.source / "p_0000.nii.gz"))
    mask = sitk.GetImageFromArray(np.ones((6, 7, 8), np.uint8))
    mask.CopyInformation(image)
    plain = folder.source / "plain.nii.gz"
    sitk.WriteImage(mask, str(plain))
    marked = nib.load(plain)
    marked.header.set_intent("label")
    nib.save(
        nib.Nifti1Image(np.asarray(marked.dataobj), marked.affine, marked.header), folder.source / "p_0001.nii.gz"
    )
    plain.unlink()
    for channel in range(2):
        label_map(folder.source / f"q_000{channel}.nii.gz")
    summary = folder.run(lambda windows: windows, spec=TWO_CHANNELS)
    assert (summary.done, list(summary.skipped)) == (["p.nii.gz"], ["q_0000.nii.gz"])
    assert any("p_0001.nii.gz (marked" in event.message for event in folder.of(Warned))


def test_a_zarr_store_is_one_input_and_never_searched(folder):
    import zarr

    folder.scan("a.mha")
    zarr.create_array(folder.source / "other", shape=(4, 4), dtype="f4")[:] = 1
    zarr.create_array(folder.source / "x.zarr", shape=(4, 4), dtype="f4")[:] = 1
    for recursive in (False, True):
        assert sorted(passed(folder.source, recursive=recursive)) == ["other", "x.zarr"]
    with pytest.raises(NoInputError, match="x.zarr .a Zarr store"):
        find(folder.source / "x.zarr")
    assert json.loads((folder.source / "x.zarr" / "zarr.json").read_text())["node_type"] == "array"


def test_the_ledger_remembers_why(unread):
    unread.run()
    ledger = Ledger(unread.output, read_only=True)
    record = ledger.cases()["d.nii.bz2"]
    ledger.close()
    assert (record.state, record.attempts, record.results) == ("skipped", 0, None)
    assert "unpack" in record.reason
