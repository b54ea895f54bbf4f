"""Grids and orientations against SimpleITK itself."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from itk_infer.volume.grid import Grid
from itk_infer.volume.volume import grid_of, image_of

CODES = [
    "".join(letters)
    for pairs in itertools.permutations(("LR", "AP", "SI"))
    for letters in itertools.product(*pairs)
]


def oblique(code, angle):
    image = sitk.GetImageFromArray(np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4))
    image.SetSpacing((0.7, 1.3, 2.5))
    image.SetOrigin((-11.5, 20.25, 3.0))
    image = sitk.DICOMOrient(image, code)
    reorientation = sitk.VersorRigid3DTransform()
    reorientation.SetRotation((0.3, 0.5, 0.81), angle)
    direction = np.reshape(reorientation.GetMatrix(), (3, 3)) @ np.reshape(image.GetDirection(), (3, 3))
    image.SetDirection(direction.ravel())
    return image


@settings(deadline=None, max_examples=80)
@given(st.sampled_from(CODES), st.sampled_from(CODES), st.sampled_from([0.0, 0.2, -0.35]))
def test_reorientation_is_dicom_orient(source, target, angle):
    image = oblique(source, angle)
    expected = sitk.DICOMOrient(image, target)
    grid, reorientation = grid_of(image).reoriented(target)
    assert grid.size == expected.GetSize()[::-1]
    np.testing.assert_allclose(grid.spacing, expected.GetSpacing()[::-1])
    np.testing.assert_allclose(grid.origin_xyz, expected.GetOrigin(), atol=1e-9)
    np.testing.assert_allclose(grid.direction_xyz, expected.GetDirection(), atol=1e-12)
    array = sitk.GetArrayFromImage(image)
    np.testing.assert_array_equal(reorientation.apply(array), sitk.GetArrayFromImage(expected))
    np.testing.assert_array_equal(reorientation.inverse.apply(reorientation.apply(array)), array)


def test_codes_mean_what_simpleitk_means():
    assert Grid((1, 1, 1), (1, 1, 1)).orientation == "LPS"
    assert Grid((1, 1, 1), (1, 1, 1), direction_xyz=(1, 0, 0, 0, 1, 0, 0, 0, -1)).orientation == "LPI"
    assert Grid((1, 1, 1), (1, 1, 1), direction_xyz=(-1, 0, 0, 0, -1, 0, 0, 0, 1)).orientation == "RAS"


def test_image_of_puts_the_grid_back():
    image = oblique("PSR", 0.2)
    again = image_of(sitk.GetArrayFromImage(image), grid_of(image))
    assert grid_of(again) == grid_of(image)


def test_voxel_volume_is_in_millilitres():
    assert Grid((1, 1, 1), (2.5, 0.8, 0.8)).voxel_volume_ml == pytest.approx(0.0016)


def test_same_as_tolerates_rounding_and_nothing_more():
    grid = Grid((4, 5, 6), (1.0, 0.5, 0.5), (1, 2, 3))
    assert grid.same_as(Grid((4, 5, 6), (1.0, 0.5, 0.50000001), (1, 2, 3)))
    assert not grid.same_as(Grid((4, 5, 7), (1.0, 0.5, 0.5), (1, 2, 3)))
    assert not grid.same_as(Grid((4, 5, 6), (1.0, 0.5, 0.5), (1, 2, 3.1)))
    assert not grid.same_as(Grid((4, 5, 6), (1.0, 0.5, 0.5), (1, 2, 3), (-1, 0, 0, 0, 1, 0, 0, 0, 1)))


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 2**32 - 1))
def test_orientation_of_any_axes_is_simpleitks(seed):
    direction = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0].ravel().tolist()
    expected = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(direction)
    assert Grid((1, 1, 1), (1, 1, 1), direction_xyz=tuple(direction)).orientation == expected


def test_orientation_of_axes_midway_between_two_is_simpleitks():
    half = np.sqrt(0.5)
    turns = [
        np.array([[half, -half, 0], [half, half, 0], [0, 0, 1]]),
        np.array([[2, -1, 2], [2, 2, -1], [-1, 2, 2]]) / 3,
    ]
    axes = [
        np.eye(3)[:, order] * signs
        for order in itertools.permutations(range(3))
        for signs in itertools.product((1, -1), repeat=3)
    ]
    for first, turn, last in itertools.product(axes, turns, axes):
        direction = (first @ turn @ last).ravel().tolist()
        expected = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(direction)
        assert Grid((1, 1, 1), (1, 1, 1), direction_xyz=tuple(direction)).orientation == expected
