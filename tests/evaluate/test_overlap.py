"""The joint histogram counts what counting one by one does."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itk_infer.evaluate.overlap import BLOCK_VOXELS, joint_counts

TYPES = {"small": (np.uint8, 5), "bytes": (np.uint8, 256), "words": (np.uint16, 65536), "mixed": (np.uint16, 300)}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(sorted(TYPES)), st.sampled_from(sorted(TYPES)))
def test_every_pair_is_counted(seed, one, other):
    rng = np.random.default_rng(seed)
    mask, truth = (rng.integers(0, TYPES[kind][1], (5, 6, 7)).astype(TYPES[kind][0]) for kind in (one, other))
    counts = joint_counts(mask, truth)
    assert counts.pairs == Counter(zip(mask.ravel().tolist(), truth.ravel().tolist()))
    value = int(mask[0, 0, 0])
    assert counts.in_mask(value) == np.count_nonzero(mask == value)
    assert counts.in_truth(value) == np.count_nonzero(truth == value)
    assert counts.common(value, value) == np.count_nonzero((mask == value) & (truth == value))


def test_several_blocks_and_empty_ones():
    mask = np.zeros((3, BLOCK_VOXELS // 4, 2), np.uint8)
    truth = mask.copy()
    mask[0, 0, 0], truth[2, -1, -1] = 7, 9
    counts = joint_counts(mask, truth)
    assert counts.pairs == {(0, 0): mask.size - 2, (7, 0): 1, (0, 9): 1}
    assert (counts.mask_values, counts.truth_values) == ([7], [9])


def test_an_empty_image():
    assert joint_counts(np.zeros((0, 4, 4), np.uint8), np.zeros((0, 4, 4), np.uint8)).pairs == {}


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_any_layout(order):
    mask = np.asarray(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), order=order)
    truth = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert joint_counts(mask, truth).pairs == {(value, value): 1 for value in range(24)}
