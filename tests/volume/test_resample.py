"""Resampling against SimpleITK (first centres coincide) and SciPy (extents coincide, splines)."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from itk_infer.errors import InputError
from itk_infer.spec import InputSpec, Resampling
from itk_infer.spec.model_spec import Anisotropic
from itk_infer.volume import resample
from itk_infer.volume.grid import Grid
from itk_infer.volume.interpolation import ModelGrid, axis_map, resample_axis
from itk_infer.volume.resample import model_grid, to_model_grid
from itk_infer.volume.resample_labels import resample_labels

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
    for order in itertools.permutations((1, 2, 3)):  # of the axes in memory
        turned = np.ascontiguousarray(array.transpose(0, *order)).transpose(0, *(np.argsort(order) + 1))
        np.testing.assert_array_equal(to_model_grid(turned, grid, how), whole)
    assert whole.shape == (2, *size)


def apart(target, spacing, size=SIZE, how="cubic", along="nearest", clip=True):
    rule = Resampling(how, "edge", "after_intensity", clip=clip, anisotropic=Anisotropic(3.0, along))
    grid = model_grid(Grid(size, spacing), InputSpec(spacing=target, resampling=rule))
    return grid, to_model_grid(VOXELS, grid, how, clip=clip)[0]


def zoomed(array, size):
    zoom = [m / n for m, n in zip(size, array.shape, strict=True)]
    return ndimage.zoom(array.astype(float), zoom, order=3, mode="nearest", grid_mode=True)


def test_clip_keeps_splines_in_the_range_of_the_channel():
    wanted = InputSpec(spacing=(0.9, 0.5, 0.6), resampling=Resampling("cubic", "edge"))
    grid = model_grid(Grid(SIZE, SPACING), wanted)
    expected = np.clip(zoomed(VOXELS[0], grid.size), VOXELS.min(), VOXELS.max())
    np.testing.assert_allclose(to_model_grid(VOXELS, grid, "cubic", clip=True)[0], expected, atol=2e-3)
    assert to_model_grid(VOXELS, grid, "cubic")[0].max() > VOXELS.max()


@pytest.mark.parametrize("spacing", [(5.0, 0.8, 1.1), (0.8, 5.0, 1.1), (0.8, 1.1, 5.0)])
@pytest.mark.parametrize(("along", "order"), [("nearest", 0), ("linear", 1), ("cubic", 3)])
def test_a_coarse_axis_is_resampled_apart(spacing, along, order):
    """Slice by slice with splines, each kept within its own range, then along the coarse axis."""
    target = (1.7, 1.3, 0.9)
    grid, array = apart(target, spacing, along=along)
    axis = int(np.argmax(spacing))
    slices = np.moveaxis(VOXELS[0], axis, 0)
    flat = [n for number, n in enumerate(grid.size) if number != axis]
    each = [np.clip(zoomed(plane, flat), plane.min(), plane.max()) for plane in slices]
    stack = np.stack(each)
    ratio = len(slices) / grid.size[axis]
    positions = ratio * (np.arange(grid.size[axis]) + 0.5) - 0.5
    if order == 0:
        expected = stack[np.floor(np.clip(positions, 0, len(stack) - 1) + 0.5).astype(int)]
    else:
        where = np.meshgrid(positions, np.arange(flat[0]), np.arange(flat[1]), indexing="ij")
        expected = ndimage.map_coordinates(stack, where, order=order, mode="nearest")
    np.testing.assert_allclose(array, np.moveaxis(expected, 0, axis), atol=5e-3)
    assert grid.apart == (axis, along)


def test_the_way_back_asks_the_same_question_from_its_side():
    target, spacing = (4.0, 1.0, 1.0), (1.2, 1.0, 1.0)
    grid, _ = apart(target, spacing)
    assert grid.apart == (0, "nearest")  # the target's first axis is the coarse one
    assert [axis.back for axis in grid.axes] == ["nearest", "linear", "linear"]
    positions = grid.axes[0].model_positions()
    np.testing.assert_array_equal(positions, np.round(positions))


@pytest.mark.parametrize("spacing", [(5.0, 5.0, 1.0), (2.9, 1.0, 1.0), (3.0, 1.0, 1.0)])
def test_two_coarse_axes_or_none_are_not_apart(spacing):
    grid, _ = apart((1.0, 1.0, 1.0), spacing)
    assert grid.apart is None
    assert {axis.back for axis in grid.axes} == {"linear"}


@given(st.integers(1, 40), st.integers(1, 40))
def test_nearest_on_the_way_back_is_scipys(native, model):
    axis = replace(axis_map(native, model, 1.0, "edge"), back="nearest")
    scale = model / native
    positions = scale * (np.arange(native) + 0.5) - 0.5
    expected = ndimage.map_coordinates(np.arange(model, dtype=float), [positions], order=0, mode="nearest")
    np.testing.assert_array_equal(np.clip(axis.model_positions(), 0, model - 1), expected)


@given(st.integers(1, 40), st.integers(1, 40))
@example(12, 9)  # 1.5, midway between two voxels
@example(2, 25)
def test_nearest_on_the_way_there_is_scipys(native, model):
    scale = native / model
    positions = scale * (np.arange(model) + 0.5) - 0.5
    source = np.arange(native, dtype=float)
    expected = ndimage.map_coordinates(source, [positions], order=0, mode="nearest")
    axis = axis_map(native, model, 1.0, "edge")
    np.testing.assert_array_equal(resample_axis(source, axis.native_positions(), 0, "nearest"), expected)


def test_labels_along_a_coarse_axis_are_those_of_the_nearest_plane():
    """However the image is interpolated along it: each plane is that of the nearest one alone."""

    def grid_of(planes):
        rule = Resampling("cubic", "edge", anisotropic=Anisotropic(3, "linear"))
        grid = model_grid(
            Grid((planes, 7, 6), (5.0, 1.1, 1.1)), InputSpec(spacing=(1.7, 0.8, 0.7), resampling=rule)
        )
        assert grid.apart == (0, "linear")
        return grid

    labels = np.random.default_rng(3).integers(0, 4, (4, 7, 6)).astype(np.uint8)
    grid = grid_of(4)
    count = grid.size[0]
    positions = 4 / count * (np.arange(count) + 0.5) - 0.5
    nearest = ndimage.map_coordinates(np.arange(4.0), [positions], order=0, mode="nearest").astype(int)
    expected = np.stack([resample_labels(labels[plane : plane + 1], grid_of(1))[0] for plane in nearest])
    np.testing.assert_array_equal(resample_labels(labels, grid), expected)


def test_the_size_by_ratio_rounds_as_nnunet():
    """51 voxels of 0.7 mm at 0.6 mm are 59.5, which either order of operations rounds its own way."""
    for size, count in (("extent", round(51 * 0.7 / 0.6)), ("ratio", round(0.7 / 0.6 * 51))):
        wanted = InputSpec(spacing=(0.6, None, None), resampling=Resampling(size=size))
        assert model_grid(Grid((51, 5, 5), (0.7, 1.0, 1.0)), wanted).size[0] == count
    assert round(51 * 0.7 / 0.6) != round(0.7 / 0.6 * 51)


@pytest.mark.parametrize(
    "sizes", [((37, 50), (12, 50)), ((37, 50), (12, 17)), ((37, 50), (74, 17)), ((9, 9), (1, 20))], ids=str
)
def test_antialiased_is_what_pillow_makes_of_it(sizes):
    """Bilinear on floats, which takes a triangle as wide as an output pixel covers."""
    from PIL import Image

    (rows, columns), (new_rows, new_columns) = sizes
    picture = np.random.default_rng(2).normal(100, 30, (rows, columns)).astype(np.float32)
    wanted = InputSpec(size=(None, new_rows, new_columns), dimensions=2)
    grid = model_grid(Grid((1, rows, columns), (1.0, 1.0, 1.0)), wanted)
    found = to_model_grid(picture[None, None], grid, "linear", antialias=True)
    expected = Image.fromarray(picture).resize((new_columns, new_rows), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(found[0, 0], np.asarray(expected), atol=2e-4)


@pytest.mark.parametrize(
    ("size", "target", "expected"),
    [
        ((100, 50), (192, 192), (192, 96)),
        ((520, 696), (192, 192), (143, 192)),
        ((256, 256), (192, 192), (192, 192)),
        ((100, 300), (200, 100), (33, 100)),
        ((2, 3000), (192, 192), (1, 192)),
    ],
    ids=str,
)
def test_a_picture_that_is_fitted_keeps_its_shape(size, target, expected):
    wanted = InputSpec(size=(None, *target), dimensions=2, resampling=Resampling(aspect="fit"))
    assert model_grid(Grid((5, *size), (1.0, 1.0, 1.0)), wanted).size == (5, *expected)


def test_a_turned_array_is_copied_once_and_only_what_is_needed(monkeypatch):
    turned = np.random.default_rng(0).normal(size=(40, 30, 50)).astype(np.float32).transpose(2, 1, 0)
    copies, copied = np.ascontiguousarray, []

    def watched(array):
        copied.append(array.size)
        return copies(array)

    monkeypatch.setattr(np, "ascontiguousarray", watched)
    resample_axis(turned, np.array([20.25, 20.75, 21.5]), 0, "linear")
    assert copied == [3 * 30 * 40]
