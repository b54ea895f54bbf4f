"""Rules: the known answers of shared/data/metrics, and the properties that the documentation promises."""

from __future__ import annotations

import json
import sys
from types import ModuleType

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from itk_infer.errors import ConfigError, OutputError, SpecError
from itk_infer.spec import Label
from itk_infer.spec.parse_rules import rules
from itk_infer.volume.grid import Grid
from itk_infer.volume.postprocess import apply_rules, boxes_of, bytes_per_voxel, vanished
from itk_infer.volume.volume import grid_of

TABLE = [Label(value, name, "#e6194b", value) for value, name in ((1, "liver"), (2, "spleen"), (3, "lesion"))]
CUBE = np.ones((3, 3, 3), bool)
maps = arrays.arrays(np.uint8, st.tuples(*[st.integers(1, 9)] * 3), elements=st.sampled_from([0, 0, 1, 1, 2, 3]))


def grid(array, spacing=(1.0, 1.0, 1.0)):
    return Grid(array.shape, spacing)


def applied(array, *given, spacing=(1.0, 1.0, 1.0), where=None):
    labels = array.copy()
    result, effects = apply_rules(array, where or grid(array, spacing), TABLE, rules(list(given), "rules"))
    np.testing.assert_array_equal(array, labels)  # the given one stays as it is
    for effect in effects:
        assert effect.before != effect.after
    return result


@pytest.fixture(params=["SimpleITK", "edt"])
def distances(request, monkeypatch):
    if request.param == "edt":
        pytest.importorskip("edt")
    else:
        monkeypatch.setitem(sys.modules, "edt", None)


@pytest.mark.parametrize("value", [1, 2])
def test_known_answers(shared, distances, value):
    folder = shared / "metrics"
    expected = json.loads((folder / "expected.json").read_text())["postprocessing"]["results"]
    image = sitk.ReadImage(str(folder / "postprocessing_input.nii.gz"))
    own = np.where(sitk.GetArrayFromImage(image) == value, value, 0).astype(np.uint8)

    def voxels(**rule):
        return int(np.count_nonzero(applied(own, {"labels": [value], **rule}, where=grid_of(image)) == value))

    for connectivity in (6, 26):
        known = expected[f"label{value}_connectivity{connectivity}"]
        assert voxels(op="keep_largest", connectivity=connectivity) == known["keep_largest_voxels"]
        assert voxels(op="min_size", ml=0.01, connectivity=connectivity) == known["min_size_0_01_ml_voxels"]
    known = expected[f"label{value}_whole"]
    assert voxels(op="fill_holes") == known["fill_holes_3d_voxels"]
    assert voxels(op="fill_holes", mode="axial") == known["fill_holes_2d_axial_voxels"]
    assert voxels(op="open", mm=2) == known["opening_2mm_voxels"]
    assert voxels(op="close", mm=2) == known["closing_2mm_voxels"]


@given(maps, st.booleans(), st.integers(1, 3))
@settings(deadline=None, max_examples=80)
def test_keep_largest(array, group, count):
    result = applied(array, {"op": "keep_largest", "labels": ["liver", 3], "group": group, "count": count})
    assert np.isin(result, [0, 1, 2, 3]).all()
    np.testing.assert_array_equal(result == 2, array == 2)
    for values in [(1, 3)] if group else [(1,), (3,)]:
        parts, found = ndimage.label(np.isin(array, values), CUBE)
        sizes = np.bincount(parts.ravel())[1:]
        smallest = sorted(sizes)[-count:][0] if found else 0
        kept = np.isin(parts, [n + 1 for n in range(found) if sizes[n] >= smallest])
        np.testing.assert_array_equal(np.isin(result, values), kept)


@given(maps, st.sampled_from([0.001, 0.002, 0.005]))
@settings(deadline=None, max_examples=60)
def test_min_size(array, ml):
    result = applied(array, {"op": "min_size", "ml": ml})
    for value in (1, 2, 3):
        parts, found = ndimage.label(array == value, CUBE)
        sizes = np.bincount(parts.ravel(), minlength=1)
        large = [n for n in range(1, found + 1) if sizes[n] >= round(ml * 1000)]
        np.testing.assert_array_equal(result == value, np.isin(parts, large))


@given(maps, st.sampled_from(["3d", "axial", "coronal", "sagittal"]), st.sampled_from(["LPS", "RAS", "SLP"]))
@settings(deadline=None, max_examples=100)
def test_holes_take_background_only_in_the_planes_of_the_patient(array, mode, code):
    where, _ = grid(array).reoriented(code)
    where = Grid(array.shape, where.spacing, where.origin_xyz, where.direction_xyz)
    result = applied(array, {"op": "fill_holes", "labels": ["liver"], "mode": mode}, where=where)
    axis = {"LPS": "IPL", "RAS": "IPL", "SLP": "PLS"}[code]  # of array axes Z Y X, without regard to the side
    letters = {"axial": "I" if "I" in axis else "S", "coronal": "P", "sagittal": "L"}
    mask = array == 1
    if mode == "3d":
        filled = ndimage.binary_fill_holes(mask)
    else:
        across = axis.index(letters[mode])
        planes = [ndimage.binary_fill_holes(plane) for plane in np.moveaxis(mask, across, 0)]
        filled = np.stack(planes, across)
    np.testing.assert_array_equal(result, np.where(filled & (array == 0), 1, array))


@given(maps, st.sampled_from([1.0, 1.5, 2.0]))
@settings(deadline=None, max_examples=40)
def test_open_and_close_leave_other_labels(array, mm):
    spacing = (1.0, 0.8, 1.5)
    reach = [int(mm / side + 1e-6) for side in spacing]
    axes = np.ogrid[tuple(slice(-n, n + 1) for n in reach)]
    ball = sum((axis * side) ** 2 for axis, side in zip(axes, spacing, strict=True)) <= mm * mm + 1e-9
    liver = np.pad(array == 1, 12)
    inner = (slice(12, -12),) * 3
    opened = ndimage.binary_opening(liver, ball)[inner]
    closed = ndimage.binary_closing(liver, ball)[inner]
    result = applied(array, {"op": "open", "labels": ["liver"], "mm": mm}, spacing=spacing)
    np.testing.assert_array_equal(result, np.where((array == 1) & ~opened, 0, array))
    result = applied(array, {"op": "close", "labels": ["liver"], "mm": mm}, spacing=spacing)
    np.testing.assert_array_equal(result, np.where(closed & (array == 0), 1, array))


@given(maps, st.sampled_from([0.0, 1.0, 2.0]))
@settings(deadline=None, max_examples=40)
def test_inside(array, margin):
    result = applied(array, {"op": "inside", "labels": ["lesion"], "of": ["liver"], "margin_mm": margin})
    liver = array == 1
    near = ndimage.distance_transform_edt(~liver) <= margin if liver.any() else np.zeros_like(liver)
    np.testing.assert_array_equal(result, np.where((array == 3) & ~near, 0, array))


def test_order_matters_and_effects_are_told():
    array = np.zeros((1, 5, 12), np.uint8)
    array[0, :, :5] = array[0, :, 7:12] = 1
    array[0, 2, 5:7] = 1  # a bridge
    array[0, 0, 6] = 3
    given = rules(
        [
            {"op": "open", "mm": 1, "labels": ["liver"]},
            {"op": "keep_largest"},
            {"op": "min_size", "ml": 0.002, "labels": ["lesion"]},
        ],
        "rules",
    )
    spacing = (9.0, 1.0, 1.0)
    result, effects = apply_rules(array, Grid(array.shape, spacing), TABLE, given[:2])
    assert np.count_nonzero(result == 1) == 44  # corners and bridge are gone; both halves are as large, and stay
    assert [(e.rule, e.op, e.label.name, e.before, e.after) for e in effects] == [(1, "open", "liver", 52, 44)]
    result, effects = apply_rules(array, Grid(array.shape, (1.0, 1.0, 1.0)), TABLE, given[1:])
    assert [(e.rule, e.label.name, e.after) for e in effects] == [(2, "lesion", 0)]
    assert vanished(effects) == ["post-processing rule 2 (min_size) removed all 1 voxels of lesion"]


def test_boxes():
    array = np.zeros((4, 5, 6), np.uint16)
    array[1:3, 2:5, 3] = 2
    array[0, 0, 0:6] = 3
    boxes = boxes_of(array, TABLE)
    assert boxes == {
        1: None,
        2: (slice(1, 3), slice(2, 5), slice(3, 4)),
        3: (slice(0, 1), slice(0, 1), slice(0, 6)),
    }


def test_memory():
    assert bytes_per_voxel(()) == 0
    assert bytes_per_voxel(rules([{"op": "keep_largest"}], "")) < bytes_per_voxel(
        rules([{"op": "open", "mm": 1}], "")
    )


def test_a_label_that_there_is_not():
    array = np.zeros((2, 2, 2), np.uint8)
    with pytest.raises(
        SpecError, match=r"rule 1 \(keep_largest\): there is no label 'livr'; there are 1 \(liver\)"
    ):
        applied(array, {"op": "keep_largest", "labels": ["livr"]})


@pytest.fixture
def functions(monkeypatch):
    module = ModuleType("made_up_rules")

    def swap(labels, spacing, table, *, first="liver", second="spleen"):
        assert spacing == (1.0, 1.0, 1.0)
        result = labels.copy()
        result[labels == table[first]] = table[second]
        labels[:] = 0  # a copy: harmless
        return result

    module.swap = swap
    module.fails = lambda labels, spacing, table: 1 / 0
    module.wide = lambda labels, spacing, table: labels.astype(np.int64)
    module.unknown = lambda labels, spacing, table: labels + 9
    module.none = lambda labels, spacing, table: None
    module.number = 7
    monkeypatch.setitem(sys.modules, "made_up_rules", module)


def test_own_function(functions):
    array = np.array([[[0, 1, 2, 3]]], np.uint8)
    rule = {"op": "custom", "function": "made_up_rules:swap", "settings": {"second": "lesion"}}
    assert applied(array, rule).tolist() == [[[0, 3, 2, 3]]]


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("fails", OutputError, "failed .ZeroDivisionError"),
        ("wide", OutputError, r"returned int64 \(1, 1, 2\); an array of uint8"),
        ("unknown", OutputError, "returned the value 9, which is no label"),
        ("none", OutputError, "returned NoneType"),
        ("absent", ConfigError, "cannot be imported"),
        ("number", ConfigError, "is not a function"),
    ],
)
def test_own_function_that_is_wrong(functions, name, kind, message):
    with pytest.raises(kind, match=message):
        applied(np.array([[[0, 1]]], np.uint8), {"op": "custom", "function": f"made_up_rules:{name}"})
