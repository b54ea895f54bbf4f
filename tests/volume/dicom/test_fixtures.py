"""Forty series, good and faulty, whose voxels say where they lie: a formula of the position is the oracle."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from itk_infer.run.cases import find_cases
from itk_infer.spec import InputSpec
from itk_infer.spec.series_rule import parse_rules
from itk_infer.volume.dicom.reading import read_series

CASES = (
    "axial", "column-negated", "coronal", "duplicate-positions", "empty-tags", "enhanced-multiframe",
    "hospital-study", "implicit-vr", "instance-numbers-shuffled", "jitter", "jpeg-2000", "jpeg-ls",
    "junk-files", "localizer-inside", "missing-slice", "mixed-spacing", "no-extension", "no-pixels",
    "no-positions", "no-series-uid", "oblique-double", "one-without-position", "per-slice-rescale", "prone",
    "reversed", "rle", "sagittal", "same-file-twice", "same-uid-other-pixels", "signs-differ", "single-slice",
    "tags-contradict-positions", "tilt", "tilt-slight", "truncated", "two-patients", "two-series",
    "uid-is-a-path", "unknown-charset", "wrong-charset",
)  # fmt: skip


@pytest.fixture(scope="module")
def dicom(shared):
    return shared / "dicom" / "cases"


@pytest.fixture(scope="module")
def expected(dicom):
    return json.loads((dicom / "expected.json").read_text("utf-8"))


def inputs(folder, rule=None):
    wanted = InputSpec(series=parse_rules(rule, "rule")) if rule else InputSpec()
    return find_cases(folder, None, recursive=False, wanted=wanted)


def check_volume(case, about, expected):
    """Grid, and the value of every voxel at its position."""
    volume = read_series(case.series[0])
    grid = volume.grid
    assert grid.size == tuple(about["size_xyz"][::-1])
    np.testing.assert_allclose(grid.spacing[::-1], about["spacing_xyz"], atol=1e-4)
    np.testing.assert_allclose(grid.origin_xyz, about["origin_lps"], atol=5e-3)
    direction = np.reshape(grid.direction_xyz, (3, 3))
    np.testing.assert_allclose(direction.T, about["direction_columns"], atol=1e-5)
    z, y, x = np.indices(grid.size)
    index = np.stack((x, y, z), axis=-1) * np.array(grid.spacing[::-1])
    points = index @ direction.T + np.array(grid.origin_xyz)
    if "box_voxels" in about:
        low, high = np.array(expected["box_lps"])
        inside = np.all((points >= low - 1e-3) & (points <= high + 1e-3), axis=-1)
        formula = expected["formula"]
        values = np.round(formula["base"] + points @ np.array(formula["per_mm_lps"]) + formula["box_add"] * inside)
        assert np.abs(volume.array - values).max() <= about.get("tolerance", 0.5)
        assert np.count_nonzero(volume.array >= formula["threshold"]) == about["box_voxels"]
    return volume


@pytest.mark.parametrize("name", CASES)
def test_outcome_grid_and_sentence(name, dicom, expected):
    about = expected["cases"][name]
    found = inputs(dicom / name)
    assert len(found.cases) == about.get("cases", 1)
    case = found.cases[0]
    if about["outcome"] == "accepted":
        assert [other.problem for other in found.cases] == [None] * len(found.cases)
        check_volume(case, about, expected)
        return
    assert case.problem
    if about["outcome"] == "refused":
        assert re.search(about["say"], case.problem)
        return
    assert all(candidate in case.problem for candidate in about["candidates"])
    assert "Topogram" not in case.problem
    assert "Patient Protocol" not in case.problem
    (chosen,) = inputs(dicom / name, about["rule"]).cases
    assert chosen.problem is None
    check_volume(chosen, about, expected)


def test_all_cases_are_tested(expected):
    assert sorted(expected["cases"]) == sorted(CASES)


def test_the_place_and_size_of_faults(dicom, expected):
    def problem(name):
        return inputs(dicom / name).cases[0].problem

    assert "z = 1 and 5 mm" in problem("missing-slice")
    assert "from 2 to 4 mm" in problem("mixed-spacing")
    assert "15 degrees" in problem("tilt")
    assert "2 degrees" in problem("tilt-slight")
    assert "4.1" in problem("tilt-slight")
    assert expected["cases"]["truncated"]["file"] in problem("truncated")
    assert "AcquisitionNumber" in problem("duplicate-positions")
    assert "AcquisitionTime" in problem("duplicate-positions")


def test_what_is_passed_over_is_counted_and_named(dicom):
    found = inputs(dicom / "junk-files")
    unnamed = next(note for note in found.notes if note.startswith("passed over 3 other files"))
    assert sum(item.files for item in found.passed) + 3 == 6
    assert "README.txt" in unnamed
    assert any(
        note.startswith("2 localizers within a series") for note in inputs(dicom / "localizer-inside").notes
    )
    assert any(
        "IM0003" in note and note.startswith("1 DICOM file") for note in inputs(dicom / "same-file-twice").notes
    )


def test_a_tag_that_contradicts_positions_is_a_warning(dicom):
    case = inputs(dicom / "tags-contradict-positions").cases[0]
    (note,) = read_series(case.series[0]).notes
    assert "7.5 mm" in note


def test_instances_choose_among_slices_at_one_position(dicom, expected):
    rule = {"all": [{"Modality": "CT"}], "instances": {"AcquisitionNumber": 1}}
    (case,) = inputs(dicom / "duplicate-positions", rule).cases
    assert case.problem is None
    check_volume(case, expected["cases"]["axial"], expected)


def test_the_hippocampus_study(shared):
    folder = shared / "dicom" / "study"
    expected = json.loads((folder / "expected.json").read_text("utf-8"))
    about = expected["cases"]["hippocampus-study"]
    folder /= "hippocampus-study"
    (refused,) = inputs(folder).cases
    assert all(candidate in refused.problem for candidate in about["candidates"])
    (case,) = inputs(folder, about["rule"]).cases
    assert case.name == "4_HCropVolume"
    check_volume(case, about, expected)
