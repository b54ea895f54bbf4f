"""Resampling against SimpleITK (first centres coincide) and SciPy (extents coincide, splines)."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from itk_infer.errors import InputError
from itk_infer.spec import InputSpec, Resampling
from itk_infer.volume import resample
from itk_infer.volume.grid import Grid
from itk_infer.volume.interpolation import ModelGrid, axis_map, resample_axis
from itk_infer.volume.resample import model_grid, to_model_grid

SIZE, SPACING, TARGET = (9, 12, 15), (2.5, 0.8, 1.1), (1.0, 1.3, 1.1)
VOXELS = np.random.default_rng(0).normal(100, 300, (1, *SIZE)).astype(np.int16)


def resampled(interpolation, alignment, target=TARGET):
    wanted = InputSpec(spacing=target, resampling=Resampling(interpolation, alignment))
    grid = model_grid(Grid(SIZE, SPACING), wanted)
    return grid, to_model_grid(VOXELS, grid, interpolation)[0]


def test_new_size_is_the_rounded_ratio():
    grid, _ = resampled("linear", "center")
    assert grid.size == (round(9 * 2.5), round(12 * 0.8 / 1.3), 15)


@pytest.mark.parametrize(("ours", "theirs"), [("linear", sitk.sitkLinear), ("nearest", sitk.sitkNearestNeighbor)])
def test_center_is_simpleitk(ours, theirs):
    grid, array = resampled(ours, "center")
    image = sitk.GetImageFromArray(VOXELS[0])
    image.SetSpacing(SPACING[::-1])
    # SimpleITK gives its default value beyond the last voxel centre; there we clamp: not compared.
    filtered = sitk.Resample(
        image, grid.size[::-1], sitk.Transform(), theirs, (0, 0, 0), TARGET[::-1], image.GetDirection(), -9e9, 8
    )
    expected = sitk.GetArrayFromImage(filtered)
    inside = np.ix_(*(axis.native_positions() <= axis.native - 1 for axis in grid.axes))
    np.testing.assert_allclose(array[inside], expected[inside], atol=2e-3)
    assert expected[inside].min() > -9e9


@pytest.mark.parametrize(("ours", "order"), [("linear", 1), ("cubic", 3)])
def test_edge_is_scipy_zoom(ours, order):
    grid, array = resampled(ours, "edge")
    zoom = [m / n for m, n in zip(grid.size, SIZE, strict=True)]
    expected = ndimage.zoom(VOXELS[0].astype(float), zoom, order=order, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(array, expected, atol=2e-3)


def test_cubic_center_is_scipy_order_three_nearest():
    grid, array = resampled("cubic", "center")
    where = np.meshgrid(*(axis.native_positions() for axis in grid.axes), indexing="ij")
    expected = ndimage.map_coordinates(VOXELS[0].astype(float), where, order=3, mode="nearest")
    np.testing.assert_allclose(array, expected, atol=2e-3)


def test_size_makes_extents_coincide():
    grid = model_grid(Grid(SIZE, SPACING), InputSpec(size=(18, 6, 15)))
    z, y, x = grid.axes
    assert (z.step, z.offset) == (0.5, -0.25)
    assert (y.step, y.offset) == (2.0, 0.5)
    assert x.identity


def test_partial_spacing_leaves_the_other_axes():
    grid = model_grid(Grid(SIZE, SPACING), InputSpec(spacing=(1.0, None, None)))
    assert [axis.identity for axis in grid.axes] == [False, True, True]


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["center", "edge"]))
def test_the_way_back_inverts_the_way_there(native, model, alignment):
    axis = axis_map(native, model, native / model, alignment)
    there = axis.native_positions()
    back = (there - axis.offset) / axis.step
    np.testing.assert_allclose(back, np.arange(model), atol=1e-9)
    # A straight line survives both ways, away from the clamped ends.
    line = resample_axis(np.arange(native, dtype=np.float32), there, 0, "linear")
    inside = (there >= 0) & (there <= native - 1)
    np.testing.assert_allclose(line[inside], there[inside], atol=1e-4)


def test_absurd_spacing_is_refused():
    with pytest.raises(InputError, match="check the header"):
        model_grid(Grid((500, 500, 500), (100.0, 100.0, 100.0)), InputSpec(spacing=(0.5, 0.5, 0.5)))


def test_same_spacing_changes_nothing():
    grid = model_grid(Grid(SIZE, (1.0, 0.800000011920929, 1.1)), InputSpec(spacing=(1.0, 0.8, 1.1)))
    assert grid.identity
    assert to_model_grid(VOXELS, grid, "linear") is VOXELS


@pytest.mark.parametrize("how", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("size", [(7, 5, 20), (13, 4, 9), (6, 11, 9)])
def test_parts_change_nothing(monkeypatch, how, size):
    array = np.random.default_rng(0).integers(-500, 500, (2, 13, 11, 9)).astype(np.int16)
    z, y, x = (axis_map(n, m, n / m, "edge") for n, m in zip(array.shape[1:], size))
    grid = ModelGrid((z, y, x))
    whole = to_model_grid(array, grid, how)
    monkeypatch.setattr(resample, "PART", 200)
    np.testing.assert_array_equal(to_model_grid(array, grid, how), whole)
    assert whole.shape == (2, *size)
