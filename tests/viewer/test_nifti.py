"""The page's NIfTI files, read by nibabel and SimpleITK."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from itk_infer.viewer.nifti import nifti_bytes, ras_affine
from itk_infer.volume.volume import grid_of

TURNS = [np.eye(3)[list(order)] for order in ((0, 1, 2), (1, 0, 2), (2, 1, 0), (1, 2, 0))]


def image_with(direction, spacing, origin, size=(3, 4, 5)):
    image = sitk.GetImageFromArray(np.arange(np.prod(size), dtype=np.int16).reshape(size))
    image.SetDirection([float(value) for value in np.ravel(direction)])
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    return image


@given(
    turn=st.sampled_from(range(len(TURNS))),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    angle=st.floats(0, 1.5),
    spacing=st.tuples(*[st.floats(0.1, 9)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    index=st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 2)),
)
def test_every_voxel_is_where_simpleitk_has_it(turn, signs, angle, spacing, origin, index):
    tilt = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    image = image_with(tilt @ (TURNS[turn] * signs), spacing, origin)
    x, y, z = image.TransformIndexToPhysicalPoint(index)
    found = ras_affine(grid_of(image)) @ (*index, 1)
    np.testing.assert_allclose(found, (-x, -y, z, 1), atol=1e-6)


@pytest.mark.parametrize("kind", ["uint8", "int16", "uint16", "int32", "float32"])
def test_nibabel_reads_the_same_voxels(kind, tmp_path):
    image = image_with(np.eye(3), (1, 2, 3), (4, 5, 6))
    array = sitk.GetArrayFromImage(image).astype(kind)
    path = tmp_path / "a.nii"
    path.write_bytes(nifti_bytes(array, grid_of(image), window=(2.0, 40.0)))
    read = nibabel.load(path)
    assert read.get_data_dtype() == np.dtype(kind)
    assert np.array_equal(np.asarray(read.dataobj), array.T)
    np.testing.assert_allclose(read.affine, [[-1, 0, 0, -4], [0, -2, 0, -5], [0, 0, 3, 6], [0, 0, 0, 1]])
    assert (read.header["cal_min"], read.header["cal_max"]) == (2, 40)
    assert read.header.get_intent()[0] == "none"
    assert read.header.get_xyzt_units() == ("mm", "unknown")


def test_other_types_become_float_and_label_maps_say_so(tmp_path):
    image = image_with(np.eye(3), (1, 1, 1), (0, 0, 0))
    array = sitk.GetArrayFromImage(image)
    path = tmp_path / "a.nii"
    path.write_bytes(nifti_bytes(array.astype(np.float64), grid_of(image), labels=True))
    read = nibabel.load(path)
    assert read.get_data_dtype() == np.float32
    assert read.header.get_intent()[0] == "label"
    assert np.array_equal(np.asarray(read.dataobj), array.T)
