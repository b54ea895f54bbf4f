"""Labels that return by nearest neighbour are exactly those of the nearest voxels of the model's grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itk_infer.engine import host
from itk_infer.engine.decision import Decision
from itk_infer.engine.host import HostDecider
from itk_infer.engine.native import to_native
from itk_infer.engine.native_labels import labels_to_native, takes_nearest
from itk_infer.engine.workspace import Slab
from itk_infer.spec import Label, OutputSpec
from itk_infer.volume.interpolation import ModelGrid, axis_map

TABLE = (Label(7, "seven", "#000000", 2), Label(5, "five", "#000000", 1))


def nearest_grid(native, model, alignment):
    axes = (axis_map(n, m, n / m, alignment) for n, m in zip(native, model, strict=True))
    return ModelGrid(tuple(axis if axis.identity else replace(axis, back="nearest") for axis in axes))


def cut(logits, height):
    return (Slab(z, logits[:, z : z + height]) for z in range(0, logits.shape[1], height))


def joined(found):
    found = list(found)
    assert [s.z0 for s in found] == list(np.cumsum([0, *(len(s.labels) for s in found)])[:-1])
    masks = None if found[0].masks is None else np.concatenate([s.masks for s in found], axis=1)
    return np.concatenate([s.labels for s in found]), masks


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(*[st.integers(1, 40)] * 3),
    st.tuples(*[st.integers(1, 20)] * 3),
    st.sampled_from(["center", "edge"]),
    st.integers(1, 7),
    st.integers(0, 2**31),
    st.sampled_from(["argmax", "threshold"]),
)
def test_equals_deciding_the_logits_of_the_nearest_voxels(native, model, alignment, height, seed, rule):
    logits = np.random.default_rng(seed).normal(size=(4, *model)).astype(np.float32)
    grid = nearest_grid(native, model, alignment)
    decision = Decision(OutputSpec(decision=rule, labels=TABLE), 4)
    decider = HostDecider(decision, grid, False, 1, 1 << 20)
    labels, masks = joined(decider.decide(cut(logits, height)))
    whole = np.concatenate([slab.logits for slab in to_native(cut(logits, height), grid, 1 << 20)], axis=1)
    wanted, wanted_masks = decision.decide(whole)
    np.testing.assert_array_equal(labels, wanted)
    assert labels.dtype == wanted.dtype
    if rule == "threshold":
        np.testing.assert_array_equal(masks, wanted_masks)
    else:
        assert masks is None
    assert decider.voxels().tolist() == decision.counts(wanted, wanted_masks).tolist()


@pytest.mark.parametrize(
    ("back", "want_logits", "fast"),
    [("nearest", False, True), ("nearest", True, False), ("linear", False, False)],
)
def test_is_used_where_labels_return_and_no_logits_are_wanted(monkeypatch, back, want_logits, fast):
    used = []

    def watched(slabs, grid):
        used.append(True)
        return labels_to_native(slabs, grid)

    monkeypatch.setattr(host, "labels_to_native", watched)
    grid = nearest_grid((9, 8, 7), (5, 8, 6), "edge")
    grid = ModelGrid(tuple(replace(axis, back=back) for axis in grid.axes))
    assert takes_nearest(grid) == (back == "nearest")
    decider = HostDecider(Decision(OutputSpec(labels=TABLE), 4), grid, want_logits, 1, 1 << 20)
    logits = np.random.default_rng(0).normal(size=(4, 5, 8, 6)).astype(np.float32)
    labels, _ = joined(decider.decide(cut(logits, 2)))
    assert labels.shape == (9, 8, 7)
    assert bool(used) == fast


def test_few_planes_are_made_at_once():
    grid = nearest_grid((90, 6, 6), (3, 2, 2), "edge")
    decision = Decision(OutputSpec(labels=TABLE), 4)
    logits = np.random.default_rng(0).normal(size=(4, 3, 2, 2)).astype(np.float32)
    found = list(HostDecider(decision, grid, False, 1, 1 << 20).decide(cut(logits, 3)))
    assert max(len(slab.labels) for slab in found) <= 8
    assert sum(len(slab.labels) for slab in found) == 90
