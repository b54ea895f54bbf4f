"""Which files of a folder may be label maps, by their names."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from itk_infer.cli.main import main
from itk_infer.evaluate.pairs import label_files
from itk_infer.outputs.registry import OUTPUTS, label_maps


def test_pictures_beside_volumes_are_drawings():
    assert label_maps(["a.nii.gz", "a.png", "b.mha", "notes.txt", ".hidden.nii"]) == ["a.nii.gz", "b.mha"]


def test_other_outputs_of_pictures_are_no_label_maps():
    written = [kind.file_name("a", ".png", "same") for kind in OUTPUTS.values() if kind.stage != "run"]
    assert len(written) > 8
    assert label_maps([*written, "B.OVERLAY.PNG", "c.tif"]) == ["a.png", "c.tif"]


def test_the_names_of_one_case_are_all_different():
    for suffix, format_ in ((".png", "same"), (".jpg", "same"), (".tif", "png"), (".nii.gz", "png")):
        names = [kind.file_name("a", suffix, format_) for kind in OUTPUTS.values() if kind.stage != "run"]
        assert len(set(names)) == len(names)


def test_evaluation_looks_at_label_maps_alone(tmp_path):
    for name in ("sub/a.png", "sub/a.overlay.png", "b.nii.gz", "b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert sorted(label_files(tmp_path, recursive=True)) == ["b", "sub/a"]


@pytest.mark.parametrize(("name", "written"), [("a.png", "a.png"), ("a.bmp", "a.png")])
def test_masks_of_pictures_are_cleaned_up(tmp_path, name, written):
    mask = np.zeros((20, 30), np.uint8)
    mask[2:10, 2:10] = 1
    mask[15, 25] = 1
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / name)
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps([{"op": "keep_largest", "labels": [1]}]))
    arguments = ["postprocess", str(tmp_path / "masks"), "-o", str(tmp_path / "out"), "--postprocess", str(rules)]
    assert main(arguments) == 0
    mask[15, 25] = 0
    with Image.open(tmp_path / "out" / written) as picture:
        np.testing.assert_array_equal(np.asarray(picture), mask)
