"""Rules on labels that overlap: each mask against scipy by itself, with and without edt."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from itk_infer.errors import OutputError, SpecError
from itk_infer.spec import Label
from itk_infer.spec.parse_rules import rules
from itk_infer.volume.grid import Grid, Reorientation
from itk_infer.volume.label_masks import LabelMasks
from itk_infer.volume.postprocess_layers import apply_rules_to_layers

TABLE = [
    Label(5, "whole", "#e6194b", 0),
    Label(300, "core", "#19e64b", 1),
    Label(2, 'spots, "bright"', "#4b19e6", 2),
]
SPACING = (2.0, 1.0, 0.7)
CUBE = np.ones((3, 3, 3), bool)
TURNED = Reorientation((2, 0, 1), (True, False, True))


def blobs(seed, size=(9, 12, 14), labels=3):
    """Masks that overlap, each with stray voxels, and a hole in a box that all have."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(labels, *size)), (0, 2, 2, 2))
    masks = (smooth > 0.4 * smooth.std()) ^ (rng.random(smooth.shape) < 0.02)
    masks[:, 2:5, 3:6, 4:7] = True
    masks[:, 3, 4, 5] = False
    return masks


def applied(arrays, *given, turned=None):
    """Masks after rules; they are stored along turned axes where that is asked for."""
    size = arrays.shape[1:]
    if turned is None:
        masks = LabelMasks(len(arrays), size)
    else:
        masks = LabelMasks(len(arrays), turned.inverse.apply(arrays[0]).shape, turned)
    for number, array in enumerate(arrays):
        masks[number] = array
    table = TABLE[: len(arrays)]
    effects = apply_rules_to_layers(masks, Grid(size, SPACING), table, rules(list(given), "rules"))
    result = np.stack([masks[number] for number in range(len(arrays))])
    for number, label in enumerate(table):
        own = [effect for effect in effects if effect.label is label]
        before, after = (int(np.count_nonzero(array[number])) for array in (arrays, result))
        if before != after:
            assert (own[0].before, own[-1].after) == (before, after)
    return result


def largest(mask, structure=CUBE):
    parts, _ = ndimage.label(mask, structure)
    sizes = np.bincount(parts.ravel())[1:]
    return np.isin(parts, 1 + np.flatnonzero(sizes == sizes.max(initial=0)))


def small_removed(mask, voxels):
    parts, _ = ndimage.label(mask, CUBE)
    return mask & (np.bincount(parts.ravel())[parts] >= voxels)


def within(mask, mm):
    return ndimage.distance_transform_edt(~mask, SPACING) <= mm + 1e-9 if mask.any() else mask


def opened(mask, mm):
    centres = ~within(np.pad(~mask, 1, constant_values=True), mm)
    return within(centres, mm)[1:-1, 1:-1, 1:-1]


def closed(mask, mm):
    padded = np.pad(mask, 8)
    return ~within(~within(padded, mm), mm)[8:-8, 8:-8, 8:-8]


@pytest.fixture(params=["SimpleITK", "edt"])
def distances(request, monkeypatch):
    if request.param == "edt":
        pytest.importorskip("edt")
    else:
        monkeypatch.setitem(sys.modules, "edt", None)


@pytest.mark.parametrize("turned", [None, pytest.param(TURNED, id="turned")])
@pytest.mark.parametrize(
    ("rule", "reference"),
    [
        ({"op": "keep_largest"}, largest),
        ({"op": "keep_largest", "connectivity": 6}, lambda mask: largest(mask, None)),
        ({"op": "min_size", "ml": 0.014}, lambda mask: small_removed(mask, 10)),  # a voxel has 0.0014 ml
        ({"op": "fill_holes"}, ndimage.binary_fill_holes),
        (
            {"op": "fill_holes", "mode": "axial"},
            lambda mask: np.stack([ndimage.binary_fill_holes(plane) for plane in mask]),
        ),
        ({"op": "open", "mm": 1.1}, lambda mask: opened(mask, 1.1)),
        ({"op": "close", "mm": 2.1}, lambda mask: closed(mask, 2.1)),
    ],
    ids=["largest", "largest-6", "size", "holes", "axial-holes", "open", "close"],
)
def test_every_mask_as_scipy_by_itself(distances, rule, reference, turned):
    masks = blobs(1)
    expected = np.stack([reference(mask) for mask in masks])
    assert (masks[0] & masks[1]).any()
    assert all((one != other).any() for one, other in zip(masks, expected, strict=True)), "nothing to change"
    np.testing.assert_array_equal(applied(masks, rule, turned=turned), expected)
    one = applied(masks, {**rule, "labels": ["core"]}, turned=turned)
    np.testing.assert_array_equal(one, np.stack([masks[0], expected[1], masks[2]]))


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 999), labels=st.integers(1, 3), group=st.booleans())
def test_groups_are_the_union(seed, labels, group):
    masks = blobs(seed, (5, 6, 7), labels)
    kept = largest(masks.any(axis=0)) if group else np.stack([largest(mask) for mask in masks])
    np.testing.assert_array_equal(applied(masks, {"op": "keep_largest", "group": group}), masks & kept)


def test_a_group_of_some_labels():
    masks = blobs(3)
    kept = small_removed(masks[0] | masks[2], 3)
    found = applied(masks, {"op": "min_size", "ml": 3 * 0.0014, "labels": [5, 2], "group": True})
    np.testing.assert_array_equal(found, np.stack([masks[0] & kept, masks[1], masks[2] & kept]))
    assert (found[0] != masks[0]).any()


@pytest.mark.parametrize("margin", [0, 1.5])
def test_inside_others(distances, margin):
    masks = blobs(4)
    near = within(masks[0], margin) if margin else masks[0]
    found = applied(masks, {"op": "inside", "labels": ["core", 2], "of": ["whole"], "margin_mm": margin})
    np.testing.assert_array_equal(found, np.stack([masks[0], masks[1] & near, masks[2] & near]))
    assert found[1].any()
    assert (found[1] != masks[1]).any()


def test_in_order_and_empty_masks():
    masks = blobs(5)
    masks[2] = False
    found = applied(masks, {"op": "open", "mm": 1.1}, {"op": "keep_largest"})
    np.testing.assert_array_equal(found, np.stack([*(largest(opened(mask, 1.1)) for mask in masks[:2]), masks[2]]))


def test_a_function_sees_each_label_alone(monkeypatch):
    calls = []

    def shift(labels, spacing_zyx, table):
        calls.append((labels.dtype, spacing_zyx, dict(table), set(np.unique(labels).tolist())))
        return np.roll(labels, 1, axis=2)

    module = ModuleType("a_rule_of_layers")
    module.shift = shift
    module.wrong = lambda labels, spacing_zyx, table: labels * 0 + 7
    monkeypatch.setitem(sys.modules, "a_rule_of_layers", module)
    masks = blobs(6)
    found = applied(masks, {"op": "custom", "function": "a_rule_of_layers:shift"})
    np.testing.assert_array_equal(found, np.roll(masks, 1, axis=3))
    assert [call[2] for call in calls] == [{label.name: label.value} for label in TABLE]
    assert [call[3] for call in calls] == [{0, label.value} for label in TABLE]
    assert all(call[:2] == (np.uint16, SPACING) for call in calls)
    with pytest.raises(OutputError, match=r"rule 1 \(custom\), whole: .*the value 7, which is no label"):
        applied(masks, {"op": "custom", "function": "a_rule_of_layers:wrong"})


def test_a_label_that_there_is_not():
    with pytest.raises(SpecError, match=r"rule 1 \(keep_largest\): there is no label 'gone'"):
        applied(blobs(0), {"op": "keep_largest", "labels": ["gone"]})


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(*[st.integers(1, 9)] * 3),
    labels=st.integers(1, 6),
    density=st.floats(0, 0.5),
    seed=st.integers(0, 99),
)
def test_masks_come_back_and_layers_hold_what_does_not_meet(size, labels, density, seed):
    arrays = np.random.default_rng(seed).random((labels, *size)) < density
    masks = LabelMasks(labels, size)
    masks.put(slice(0, size[0]), arrays)
    np.testing.assert_array_equal(np.stack([masks[number] for number in range(labels)]), arrays)
    assert [masks.voxels(number) for number in range(labels)] == arrays.sum(axis=(1, 2, 3)).tolist()
    layers = masks.layers()
    for layer in range(max(layers) + 1):
        assert arrays[[own == layer for own in layers]].sum(axis=0).max() <= 1
    painted = np.zeros(size, np.uint8)
    masks.painted(range(1, labels + 1), painted)
    expected = (arrays * np.arange(1, labels + 1)[:, None, None, None]).max(axis=0)
    np.testing.assert_array_equal(painted, expected)
