from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.cli.main import main


@pytest.fixture
def masks(tmp_path, monkeypatch):
    """Two masks with a stray voxel each, a label table, and rules."""
    folder = tmp_path / "masks"
    (folder / "below").mkdir(parents=True)
    for name in ("a.nii.gz", "b.mha", "below/c.nrrd"):
        array = np.zeros((4, 5, 6), np.uint8)
        array[1:3, 1:4, 1:3] = 1
        array[0, 0, 5] = 1
        array[3, 4, 5] = 2
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((0.5, 2.0, 1.0))
        image.SetOrigin((3, 4, 5))
        sitk.WriteImage(image, str(folder / name))
    (folder / "labels.csv").write_text("LabelValue,Name,Color_R\n1,liver,1\n2,spleen,2\n")
    (tmp_path / "rules.json").write_text(json.dumps([{"op": "keep_largest", "labels": ["liver"]}]))
    monkeypatch.chdir(tmp_path)
    return folder


def run(*words, code=0):
    assert main(["postprocess", "masks", "-o", "out", "--postprocess", "rules.json", *words]) == code


def array(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_a_folder(masks, tmp_path, capsys):
    before = {path: path.read_bytes() for path in masks.rglob("*.*")}
    run()
    assert capsys.readouterr().out.splitlines() == [
        "a.nii.gz: rule 1 keep_largest: liver 13 to 12 voxels",
        "b.mha: rule 1 keep_largest: liver 13 to 12 voxels",
        "2 done, 0 kept, 0 failed",
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.nii.gz", "b.mha"]
    for name in ("a.nii.gz", "b.mha"):
        expected = array(masks / name)
        expected[0, 0, 5] = 0
        np.testing.assert_array_equal(array(tmp_path / "out" / name), expected)
        image, given = sitk.ReadImage(str(tmp_path / "out" / name)), sitk.ReadImage(str(masks / name))
        np.testing.assert_allclose(image.GetSpacing(), given.GetSpacing())
        np.testing.assert_allclose(image.GetOrigin(), given.GetOrigin())
    assert {path: path.read_bytes() for path in masks.rglob("*.*")} == before


def test_what_is_there_stays(masks, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.nii.gz").write_text("mine")
    run()
    assert "a.nii.gz is there already; --overwrite replaces it" in capsys.readouterr().err
    assert (tmp_path / "out" / "a.nii.gz").read_text() == "mine"
    run("--overwrite")
    assert array(tmp_path / "out" / "a.nii.gz").any()


def test_sub_folders_and_single_files(masks, tmp_path, capsys):
    run("--recursive")
    assert array(tmp_path / "out" / "below" / "c.nrrd").any()
    assert main(["postprocess", "masks/b.mha", "-o", "one", "--postprocess", "rules.json"]) == 0
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["b.mha"]


def test_one_that_fails_stops_no_other(masks, tmp_path, capsys):
    (masks / "a.nii.gz").write_bytes(b"no image")
    sitk.WriteImage(sitk.GetImageFromArray(np.full((2, 2, 2), 0.5, np.float32)), str(masks / "b.mha"))
    run(code=4)
    error = capsys.readouterr().err
    assert "a.nii.gz: failed: " in error
    assert "b.mha: failed: its values are not whole numbers from 0 to 65535" in error
    run("--recursive", code=3)


def test_values_and_names(masks, tmp_path, capsys):
    (masks / "labels.csv").unlink()
    run(code=4)
    assert "there is no label 'liver'; there are 1 (label 1), 2 (label 2)" in capsys.readouterr().err
    (tmp_path / "rules.json").write_text(json.dumps([{"op": "keep_largest", "labels": [1, 7]}]))
    run()
    (tmp_path / "names.csv").write_text("LabelValue,Name\n0,background\n1,heart\n")
    run("--labels", "names.csv", code=2)
    assert "there is no label 7; there are 1 (heart)" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["Value,Name\n1,a\n", "LabelValue,Name\nx,a\n", "LabelValue,Name\n70000,a\n"])
def test_a_table_that_is_none(masks, text, capsys):
    (masks / "labels.csv").write_text(text)
    run(code=2)


def test_folders_that_cannot_be_used(masks, tmp_path, capsys):
    assert main(["postprocess", "masks", "-o", "masks", "--postprocess", "rules.json"]) == 2
    assert main(["postprocess", "absent", "-o", "out", "--postprocess", "rules.json"]) == 2
    assert main(["postprocess", "masks", "-o", "out", "--postprocess", "absent.json"]) == 2
    (tmp_path / "empty").mkdir()
    assert main(["postprocess", "empty", "-o", "out", "--postprocess", "rules.json"]) == 6


def test_segmentations_of_slicer_are_refused(masks, capsys):
    (masks / "b.mha").rename(masks / "b.seg.nrrd")
    run(code=3)
    assert "is a segmentation of 3D Slicer" in capsys.readouterr().err
