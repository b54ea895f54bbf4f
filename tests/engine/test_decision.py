"""Regions of a threshold model of which several are written as one value: painted plainly, later above earlier."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from itk_infer.engine.confidence import ConfidenceSum
from itk_infer.engine.decision import Decision
from itk_infer.engine.host import HostWorkspace
from itk_infer.engine.segment import Opened, decide
from itk_infer.engine.workspace import Slab
from itk_infer.spec import Label, OutputSpec
from itk_infer.volume.interpolation import ModelGrid, axis_map

AXES = (6, 7, 5)
TWICE = (1, 2, 1)


def output_of(order, **more):
    """Channel i is written as ``order[i]``, and has the name of its value."""
    labels = tuple(Label(value, f"of {value}", "#000000", channel) for channel, value in enumerate(order))
    return OutputSpec(decision="threshold", labels=labels, **more)


def painted(logits, order):
    """As ``nnunetv2``'s LabelManager paints: each region where its probability is above 0.5, in this order."""
    labels = np.zeros(logits.shape[1:], int)
    for channel, value in enumerate(order):
        labels[1 / (1 + np.exp(-logits[channel].astype(np.float64))) > 0.5] = value
    return labels


def union(logits, order, value):
    """Where any region of a value is."""
    return np.any([logits[channel] > 0 for channel, own in enumerate(order) if own == value], axis=0)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([1, 2, 3, 300]), min_size=1, max_size=6), st.integers(0, 2**31))
def test_labels_are_painted_in_order_and_masks_are_unions(order, seed):
    logits = np.random.default_rng(seed).normal(size=(len(order), 3, 4, 5)).astype(np.float32)
    decision = Decision(output_of(order), len(order))
    labels, masks = decision.decide(logits)
    values = list(dict.fromkeys(order))
    assert [label.value for label in decision.table] == values
    np.testing.assert_array_equal(labels, painted(logits, order))
    np.testing.assert_array_equal(masks, [union(logits, order, value) for value in values])
    assert decision.counts(labels, masks).tolist() == [union(logits, order, value).sum() for value in values]


@pytest.mark.parametrize("order", [TWICE, (2, 2, 1), (1, 1, 1), (1, 2, 2)])
@pytest.mark.parametrize("want_logits", [False, True], ids=["labels", "logits"])
@pytest.mark.parametrize("zoom", [1, 2])
@pytest.mark.parametrize("where", ["host", "device"])
def test_on_the_images_own_grid(order, want_logits, zoom, where):
    """All logits interpolated, then painted; counts are those of the regions in full."""
    rng = np.random.default_rng(7)
    logits = rng.normal(size=(3, *AXES)).astype(np.float32)
    native = tuple(n * zoom for n in AXES)
    grid = ModelGrid(tuple(axis_map(n, m, n / m, "edge") for n, m in zip(native, AXES, strict=True)))
    at = np.meshgrid(*(axis.model_positions() for axis in grid.axes), indexing="ij")
    expected = np.stack([map_coordinates(each.astype(float), at, order=1, mode="nearest") for each in logits])
    parts = []
    slabs = (Slab(z, arrays(logits[:, z : z + 2], where)) for z in range(0, AXES[0], 2))
    stats = decide(slabs, grid, output_of(order), lambda _: Opened(parts.append, want_logits), workspace_of(where))
    clear = (np.abs(expected) > 1e-4).all(axis=0)
    assert clear.mean() > 0.99
    labels = np.concatenate([part.labels for part in parts])
    masks = np.concatenate([part.masks for part in parts], axis=1)
    np.testing.assert_array_equal(labels[clear], painted(expected, order)[clear])
    for mask, value, voxels in zip(masks, dict.fromkeys(order), stats.voxels, strict=True):
        np.testing.assert_array_equal(mask[clear], union(expected, order, value)[clear])
        assert voxels == mask.sum()


def arrays(values, where):
    if where == "host":
        return values
    return pytest.importorskip("torch", reason="torch is not installed").from_numpy(values)


def workspace_of(where):
    if where == "host":
        return HostWorkspace()
    from itk_infer.engine.device.workspace import DeviceWorkspace

    return DeviceWorkspace("cpu")


def test_the_probability_of_a_label_is_that_of_its_likeliest_region():
    logits = np.random.default_rng(3).normal(scale=2, size=(3, 4, 5, 6)).astype(np.float32)
    decision = Decision(output_of(TWICE), 3)
    total = ConfidenceSum(decision)
    total.add(logits, *decision.decide(logits))
    found = total.result()
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    share = np.stack([np.maximum(p[0], p[2]), p[1]])
    inside = share > 0.5
    sure = 1 + (share * np.log2(share) + (1 - share) * np.log2(1 - share))
    assert found.per_label == pytest.approx([s[i].mean() for s, i in zip(sure, inside, strict=True)], abs=1e-5)
    assert found.expected == pytest.approx(share.sum(axis=(1, 2, 3)), rel=1e-5)
    assert found.overall == pytest.approx(sure.mean(), abs=1e-5)
