"""One pair from its files: orientation, grids, types of voxels, label tables."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.errors import ConfigError, InputError, SpecError
from itk_infer.evaluate.case import CaseTask, evaluate_case
from itk_infer.evaluate.label_map import read_labels
from itk_infer.evaluate.label_match import NamedLabel
from itk_infer.evaluate.label_tables import read_table, table_beside, table_inside
from itk_infer.evaluate.metrics import MetricSettings
from itk_infer.evaluate.pairs import Pair

SPACING = (2.0, 1.0, 0.5)


def array():
    found = np.zeros((8, 9, 10), np.uint8)
    found[2:5, 2:7, 3:8], found[6:, :3, :4] = 1, 2
    return found


def evaluate(mask, truth, *, tables=((), ()), resample=False, **settings):
    return evaluate_case(CaseTask(Pair("case", mask, truth), *tables, MetricSettings(**settings), resample))


@pytest.mark.parametrize("code", ["LPS", "RAI", "PIR", "SLA"])
def test_orientation_does_not_matter(write_labels, code):
    mask = write_labels("mask.nii.gz", array(), SPACING, code=code)
    found = evaluate(mask, write_labels("truth.nrrd", array(), SPACING))
    assert [(label.name, label.dice, label.hd) for label in found.labels] == [("label 1", 1, 0), ("label 2", 1, 0)]
    assert found.notes == ()
    assert found.diagonal_mm == pytest.approx(np.hypot(np.hypot(16, 9), 5))
    assert found.labels[0].truth_ml == pytest.approx(75 / 1000)


def test_another_grid_is_refused_or_resampled(write_labels):
    truth = write_labels("truth.nii.gz", array(), SPACING)
    mask = write_labels("mask.nii.gz", array(), SPACING, origin=(1.0, 0.0, 0.0))
    with pytest.raises(InputError, match="case: the mask lies on another grid than the truth: origin .* by 1 mm"):
        evaluate(mask, truth)
    found = evaluate(mask, truth, resample=True)
    moved = np.zeros_like(array())
    moved[:, :, 2:] = array()[:, :, :-2]
    expected = evaluate(write_labels("moved.nii.gz", moved, SPACING), truth)
    assert found.labels == expected.labels
    assert found.notes == (
        "the mask lay on another grid and was resampled to that of the truth, nearest neighbour",
    )


def test_another_size_can_be_resampled_too(write_labels):
    truth = write_labels("truth.nii.gz", array(), (1.0, 1.0, 1.0))
    fine = np.repeat(array(), 2, axis=0)
    mask = write_labels("mask.nii.gz", fine, (0.5, 1.0, 1.0), origin=(0.0, 0.0, -0.25))
    with pytest.raises(InputError, match="size 16 x 9 x 10 against 8 x 9 x 10"):
        evaluate(mask, truth)
    assert [label.dice for label in evaluate(mask, truth, resample=True).labels] == [1, 1]


@pytest.mark.parametrize("kind", ["float32", "int16", "uint16", "int64"])
def test_whole_numbers_of_any_type_are_labels(write_labels, kind):
    path = write_labels("labels.mha", array().astype(kind))
    np.testing.assert_array_equal(read_labels(path).array, array())
    assert read_labels(path).array.dtype == np.uint8


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [(0.5, "float32", "holds fractions"), (-1, "int16", "from -1 to 1"), (70_000, "int32", "from 0 to 70000")],
)
def test_what_is_no_label_map_is_refused(write_labels, value, kind, words):
    odd = np.ones((3, 4, 5), kind)
    odd[0, 0, 0] = 0
    odd[1, 1, 1] = value
    with pytest.raises(InputError, match=words):
        read_labels(write_labels("odd.nrrd", odd))


def test_large_values(write_labels):
    large = array().astype(np.uint16) * 30_000
    found = evaluate(write_labels("mask.nii.gz", large), write_labels("truth.nii.gz", large))
    assert [(label.mask_value, label.dice) for label in found.labels] == [(30_000, 1), (60_000, 1)]


def test_names_of_slicer_segmentations(write_labels):
    image = sitk.GetImageFromArray(array())
    path = write_labels("mask.seg.nrrd", array())
    for index, (value, name) in enumerate([(1, "liver"), (2, 'a "b", <c>')]):
        image.SetMetaData(f"Segment{index}_Name", name)
        image.SetMetaData(f"Segment{index}_LabelValue", str(value))
    sitk.WriteImage(image, str(path))
    assert table_inside(path) == {1: NamedLabel(1, "liver"), 2: NamedLabel(2, 'a "b", <c>')}
    swapped = np.choose(array(), [0, 2, 1]).astype(np.uint8)
    tables = ((), (NamedLabel(2, "liver", 3.0), NamedLabel(1, 'A "b", <c>')))
    found = evaluate(path, write_labels("truth.nii.gz", swapped), tables=tables)
    assert [(label.name, label.matched_by, label.dice, label.tolerance_mm) for label in found.labels] == [
        ("liver", "name", 1, 3.0),
        ('a "b", <c>', "name", 1, 2.0),
    ]
    assert table_inside(path.with_name("truth.nii.gz")) == {}


def test_tables_beside_the_files(tmp_path):
    assert table_beside(tmp_path) == {}
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "liver": 1, "both": [1, 2]}}')
    inside = tmp_path / "labelsTr"
    inside.mkdir()
    assert table_beside(inside) == {1: NamedLabel(1, "liver")}
    (tmp_path / "dataset.json").write_text('{"labels": {"0": "background", "1": "liver"}}')
    assert table_beside(inside / "case.nii.gz") == {1: NamedLabel(1, "liver")}
    (inside / "labels.csv").write_text("LabelValue,Name,Color_R\n3,spleen,0\n")
    assert table_beside(inside) == {3: NamedLabel(3, "spleen")}


def test_the_table_of_a_spec(tmp_path):
    path = tmp_path / "spec.json"
    path.write_text('{"spec": 1, "output": {"labels": [{"value": 4, "name": "aorta", "tolerance_mm": 1.5}]}}')
    assert read_table(path) == {4: NamedLabel(4, "aorta", 1.5)}
    path.write_text('{"spec": 1, "output": {"labels": [{"value": 4, "tolerance_mm": -1}]}}')
    with pytest.raises(SpecError, match="tolerance_mm"):
        read_table(path)
    for text in ("{", "[1]"):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"spec\.json"):
            read_table(path)
    (tmp_path / "names.csv").write_text("number,what\n1,liver\n")
    with pytest.raises(ConfigError, match="is no label table"):
        read_table(tmp_path / "names.csv")


def test_warnings_of_reading_are_kept(write_labels):
    truth = write_labels("truth.nii.gz", array(), SPACING)
    mask = write_labels("mask.nii.gz", array(), SPACING, origin=(0.02, 0.0, 0.0))
    (note,) = evaluate(mask, truth).notes
    assert "the mask and the truth differ slightly in their grids" in note
