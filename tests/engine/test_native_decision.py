"""Deciding on native planes by blocks is exactly deciding after resampling all logits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, map_coordinates

from itk_infer.engine import native_decision
from itk_infer.engine.decision import Decision
from itk_infer.engine.native_decision import decide_on_native
from itk_infer.engine.workspace import Slab
from itk_infer.spec import Label, OutputSpec
from itk_infer.volume.interpolation import ModelGrid, axis_map

TABLE = (Label(7, "seven", "#000000", 2), Label(5, "five", "#000000", 1))


def resampled(logits, grid):
    where = np.meshgrid(*(axis.model_positions() for axis in grid.axes), indexing="ij")
    return np.stack([map_coordinates(channel.astype(float), where, order=1, mode="nearest") for channel in logits])


def by_blocks(logits, grid, decision, height, threads=1):
    slabs = (Slab(z, logits[:, z : z + height]) for z in range(0, logits.shape[1], height))
    found = list(decide_on_native(slabs, grid, decision, threads))
    assert [s.z0 for s in found] == list(np.cumsum([0, *(len(s.labels) for s in found)])[:-1])
    masks = None if found[0].masks is None else np.concatenate([s.masks for s in found], axis=1)
    return np.concatenate([s.labels for s in found]), masks


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(*[st.integers(1, 20)] * 3),
    st.tuples(*[st.integers(1, 20)] * 3),
    st.sampled_from(["center", "edge"]),
    st.integers(1, 7),
    st.integers(0, 2**31),
    st.sampled_from([0.0, 1.5]),
    st.sampled_from(["argmax", "threshold"]),
    st.sampled_from([3, native_decision.TILE]),
)
def test_equals_resampling_everything_first(native, model, alignment, height, seed, smooth, rule, tile):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(4, *model)).astype(np.float32)
    if smooth:  # blocks where one channel wins throughout
        logits = np.stack([gaussian_filter(channel, smooth) * 20 for channel in logits])
    grid = ModelGrid(tuple(axis_map(n, m, n / m, alignment) for n, m in zip(native, model)))
    decision = Decision(OutputSpec(decision=rule, labels=TABLE), 4)
    expected = resampled(logits, grid)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native_decision, "TILE", tile)
        labels, masks = by_blocks(logits, grid, decision, height)
    ordered = np.sort(expected, axis=0)
    if rule == "argmax":
        clear = ordered[-1] - ordered[-2] > 1e-4
        wanted = decision.value_of_channel[np.argmax(expected, axis=0)]
        assert masks is None
    else:
        clear = (np.abs(expected) > 1e-4).all(axis=0)
        wanted = np.zeros(native, int)
        for index, label in enumerate(decision.table):
            np.testing.assert_array_equal(masks[index][clear], (expected[label.channel] > 0)[clear])
            wanted[expected[label.channel] > 0] = label.value
    np.testing.assert_array_equal(labels[clear], wanted[clear])


@pytest.mark.parametrize("threads", [1, 3])
def test_tiles_and_threads_change_nothing(monkeypatch, threads):
    logits = np.stack(
        [gaussian_filter(c, 2) for c in np.random.default_rng(0).normal(size=(3, 12, 30, 40))]
    ).astype(np.float32)
    grid = ModelGrid(tuple(axis_map(n, m, n / m, "edge") for n, m in zip((30, 70, 65), logits.shape[1:])))
    decision = Decision(OutputSpec(), 3)
    one, _ = by_blocks(logits, grid, decision, 5)
    monkeypatch.setattr(native_decision, "TILE", 7)
    monkeypatch.setattr(native_decision, "TILE_DEPTH", 3)
    other, _ = by_blocks(logits, grid, decision, 4, threads)
    assert np.mean(one == other) > 0.9999  # rounding may differ where two channels tie


def test_only_channels_that_can_win_are_interpolated(monkeypatch):
    logits = np.zeros((50, 8, 16, 16), np.float32)
    logits[0], logits[1, :, :, 8:] = 5, 9
    seen = []
    real = native_decision._interpolated
    monkeypatch.setattr(
        native_decision, "_interpolated", lambda block, w: seen.append(len(block)) or real(block, w)
    )
    grid = ModelGrid(tuple(axis_map(2 * n, n, 2.0, "edge") for n in (8, 16, 16)))
    labels, _ = by_blocks(logits, grid, Decision(OutputSpec(), 50), 4)
    assert max(seen) == 2
    assert set(np.unique(labels)) == {0, 1}


@pytest.mark.parametrize("factor", [0.6, 1, 1.7, 2.5])
@pytest.mark.parametrize("voxels", [1, 10_000])
def test_leaving_channels_out_changes_nothing(monkeypatch, factor, voxels):
    rng = np.random.default_rng(4)
    logits = np.stack([gaussian_filter(c, 1.5) for c in rng.normal(size=(21, 10, 40, 45))]).astype(np.float32)
    native = tuple(round(n * factor) for n in logits.shape[1:])
    grid = ModelGrid(tuple(axis_map(n, m, n / m, "edge") for n, m in zip(native, logits.shape[1:])))
    decision = Decision(OutputSpec(), 21)
    monkeypatch.setattr(native_decision, "BLOCK_VOXELS", voxels)  # channels at a time
    some, _ = by_blocks(logits, grid, decision, 4)
    monkeypatch.setattr(native_decision, "candidates", lambda strip, runs: np.ones((len(runs), len(strip)), bool))
    every, _ = by_blocks(logits, grid, decision, 4)
    np.testing.assert_array_equal(some, every)


def test_more_channels_than_a_byte_counts():
    logits = np.random.default_rng(0).normal(size=(300, 3, 4, 5)).astype(np.float32)
    grid = ModelGrid(tuple(axis_map(2 * n, n, 2.0, "edge") for n in logits.shape[1:]))
    labels, _ = by_blocks(logits, grid, Decision(OutputSpec(), 300), 2)
    np.testing.assert_array_equal(labels, np.argmax(resampled(logits, grid), axis=0))
