"""Geometry of slices: any orientation, order and position; faults with place and size."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from support.dicom_files import save_series, voxels

from itk_infer.errors import InputError
from itk_infer.volume.dicom.reading import read_plan, read_series
from itk_infer.volume.dicom.series_files import SeriesFiles


def read(paths):
    return read_series(SeriesFiles(tuple(paths)))


def problem(paths):
    with pytest.raises(InputError) as caught:
        read_plan(SeriesFiles(tuple(paths)))
    return str(caught.value)


@settings(max_examples=40, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    step=st.floats(0.3, 9),
    spacing=st.tuples(st.floats(0.2, 3), st.floats(0.2, 3)),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    order=st.permutations(range(4)),
    is_reversed=st.booleans(),
)
def test_every_voxel_lies_where_its_slice_says(
    tmp_path_factory, angles, step, spacing, origin, order, is_reversed
):
    folder = tmp_path_factory.mktemp("series")
    turned = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    stored = voxels((4, 3, 5))
    normal = turned[:, 2] * (-step if is_reversed else step)
    positions = [np.array(origin) + k * normal for k in order]
    paths = save_series(
        folder, stored, position=positions, orientation=[tuple(turned[:, :2].T.ravel())] * 4, spacing=spacing
    )
    volume = read(paths)
    grid = volume.grid
    for k, position in enumerate(positions):
        for row, column in ((0, 0), (2, 4), (1, 3)):
            point = position + column * spacing[1] * turned[:, 0] + row * spacing[0] * turned[:, 1]
            index = np.linalg.solve(np.reshape(grid.direction_xyz, (3, 3)), point - np.array(grid.origin_xyz))
            index /= np.array(grid.spacing[::-1])
            nearest = np.rint(index).astype(int)
            assert np.abs(index - nearest).max() < 1e-3
            assert volume.array[tuple(nearest[::-1])] == stored[k, row, column]


def positions(z):
    return [(0.0, 0.0, float(value)) for value in z]


def test_small_irregularities_are_put_up_with_and_larger_ones_named(tmp_path):
    array = voxels((6, 4, 4))
    z = np.arange(6) * 2.0
    z[3] += 0.1
    assert "varies" in read(save_series(tmp_path / "a", array, position=positions(z))).notes[0]
    z[3] += 0.5
    said = problem(save_series(tmp_path / "b", array, position=positions(z)))
    assert re.search(r"spacing between its slices changes: it is 1\.4 to 2\.6 mm", said)


def test_missing_slices_are_counted_with_their_place(tmp_path):
    z = [0, 2, 4, 10, 12, 14, 16, 18, 20, 22]
    said = problem(save_series(tmp_path, voxels((10, 4, 4)), position=positions(z)))
    assert "2 slices are missing" in said
    assert "z = 4 and 10 mm" in said


def test_a_tilt_is_judged_by_the_drift_over_the_stack(tmp_path):
    short = [(0.0, 0.05 * k, 2.0 * k) for k in range(5)]  # 0.2 mm in all
    volume = read(save_series(tmp_path / "short", voxels((5, 4, 4)), position=short))
    assert "tilted by 1.4 degrees" in volume.notes[0]
    long = [(0.0, 0.05 * k, 2.0 * k) for k in range(20)]
    assert "0.95 mm" in problem(save_series(tmp_path / "long", voxels((20, 4, 4)), position=long))


def test_a_patient_who_moved_is_no_tilt(tmp_path):
    moved = [(3.0 * (k % 2), 0.0, 2.0 * k) for k in range(8)]
    assert "shifted sideways by up to 3 mm" in problem(save_series(tmp_path, voxels((8, 4, 4)), position=moved))


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"PixelSpacing": [["1", "1"]] * 4 + [["2", "2"]]}, "different distances between pixels"),
        (
            {"FrameOfReferenceUID": ["1.2.3"] * 4 + ["1.2.4"]},
            "different frames of reference, |FrameOfReferenceUID",
        ),
        ({"ImageOrientationPatient": [[1, 0, 0, 0, 1, 0]] * 4 + [[0, 1, 0, 0, 0, -1]]}, "90 degrees"),
        ({"ImageOrientationPatient": [[1, 0, 0, 1, 0, 0]] * 5}, "right angles"),
        ({"PixelSpacing": [["0", "1"]] * 5}, "not positive"),
        ({"PixelSpacing": [[""]] * 5}, "valid distance"),
        ({"RescaleSlope": ["0"] * 5}, "RescaleSlope is 0"),
        ({"ImageType": [["ORIGINAL", "PRIMARY", "MOSAIC"]] * 5}, "mosaic"),
        (
            {"EchoTime": ["1.5", "1.5", "1.5", "1.5", "9.25"], "position": positions([0, 2, 4, 6, 6])},
            "1.5 and 9.25",
        ),
        ({"position": positions([0, 0, 0, 0, 0])}, "5 slices lie at one position"),
    ],
    ids=["spacing", "frame", "orientation", "angles", "zero", "empty", "slope", "mosaic", "echo", "all at one"],
)
def test_faults(tmp_path, attributes, words):
    assert re.search(words, problem(save_series(tmp_path, voxels(), **attributes)))


def test_slices_of_other_sizes(tmp_path):
    paths = save_series(tmp_path, voxels((3, 4, 4)))
    paths += save_series(tmp_path / "more", voxels((4, 5, 4)))[3:]
    assert "different numbers of rows and columns: 4 x 4 and 5 x 4" in problem(paths)
