"""Components against scipy, and where the package is installed, against cc3d."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from itk_infer.volume import components as module
from itk_infer.volume.components import components, distinct, sizes_by_value

RANK = {6: 1, 18: 2, 26: 3}
volumes = arrays.arrays(
    np.uint8,
    st.tuples(*[st.integers(1, 7)] * 3),
    elements=st.sampled_from([0, 0, 0, 1, 2, 255]),
)


def labelled(found):
    """The number of every voxel's component, from 1; 0 outside."""
    numbers = np.zeros(found.shape, np.int64)
    for number in range(len(found.sizes)):
        found.put(numbers, np.arange(len(found.sizes)) == number, number + 1)
    return numbers


def of_scipy(array, connectivity):
    """The same by scipy: components of each value, numbered by their first voxel."""
    numbers, total = np.zeros(array.shape, np.int64), 0
    for value in np.unique(array[array > 0]):
        own, count = ndimage.label(array == value, ndimage.generate_binary_structure(3, RANK[connectivity]))
        numbers[own > 0] = own[own > 0] + total
        total += count
    first, inverse = np.unique(numbers, return_index=True)[1], np.unique(numbers, return_inverse=True)[1]
    order = [index for index in np.argsort(first) if numbers.ravel()[first[index]] > 0]
    rank = np.zeros(len(first), np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    return rank[inverse].reshape(array.shape)


@given(volumes, st.sampled_from([6, 18, 26]))
@settings(deadline=None, max_examples=150)
def test_equal_to_scipy(array, connectivity):
    found = components(array, connectivity)
    expected = of_scipy(array, connectivity)
    np.testing.assert_array_equal(labelled(found), expected)
    assert found.sizes.tolist() == np.bincount(expected.ravel())[1:].tolist()
    assert all(found.values[n - 1] == array[expected == n][0] for n in range(1, expected.max() + 1))


@given(volumes, st.sampled_from([6, 18, 26]))
@settings(deadline=None, max_examples=50)
def test_equal_to_cc3d(array, connectivity):
    cc3d = pytest.importorskip("cc3d")
    expected = cc3d.connected_components(np.ascontiguousarray(array), connectivity=connectivity)
    found = labelled(components(array, connectivity))
    pairs = np.unique(np.stack([expected.ravel(), found.ravel()]), axis=1)
    assert len(pairs[0]) == len(np.unique(pairs[0])) == len(np.unique(pairs[1]))


@given(volumes)
@settings(deadline=None, max_examples=50)
def test_within_planes(array):
    flat = labelled(components(array, 4))
    for plane, found in zip(array, flat, strict=True):
        expected, total = np.zeros(plane.shape, np.int64), 0
        for value in np.unique(plane[plane > 0]):
            own, count = ndimage.label(plane == value)
            expected[own > 0] = own[own > 0] + total
            total += count
        pairs = np.unique(np.stack([expected.ravel(), found.ravel()]), axis=1)
        assert len(pairs[0]) == len(np.unique(pairs[0])) == len(np.unique(pairs[1]))


@given(volumes)
@settings(deadline=None, max_examples=50)
def test_boxes_and_masks(array):
    found = components(array)
    numbers = labelled(found)
    seen = np.zeros_like(numbers)
    values = []
    for value, box, mask in found.each():
        (number,) = np.unique(numbers[box][mask])
        assert mask.sum() == (numbers == number).sum()
        assert all(mask.any(axis=tuple({0, 1, 2} - {axis}))[[0, -1]].all() for axis in range(3))
        seen[box][mask] += 1
        values.append(value)
    np.testing.assert_array_equal(seen, numbers > 0)
    assert values == sorted(values)


def test_put_in_steps(monkeypatch):
    monkeypatch.setattr(module, "VOXELS_AT_ONCE", 5)
    array = (np.random.default_rng(0).random((6, 7, 8)) < 0.3).astype(np.uint8) * 3
    found = components(array, 6)
    chosen = found.sizes < 4
    changed = array.copy()
    found.put(changed, chosen, 9)
    numbers = of_scipy(array, 6)
    np.testing.assert_array_equal(changed == 9, np.isin(numbers, np.flatnonzero(chosen) + 1))


def test_a_long_spiral_is_one():
    """Many rounds of joining: a path of one voxel that winds through the whole volume."""
    array = np.zeros((1, 61, 61), np.uint8)
    z = array[0]
    low, high = 0, 60
    while low < high:
        z[low, low : high + 1] = z[low : high + 1, high] = z[high, low : high + 1] = 1
        z[low + 2 : high + 1, low] = 1
        z[low + 2, low : low + 2] = 1
        low, high = low + 2, high - 2
    assert len(components(array, 6).sizes) == ndimage.label(array)[1]


@given(volumes, st.integers(0, 30))
@settings(deadline=None, max_examples=50)
def test_runs_at_most(array, most):
    runs = sum(
        len(list(filter(None, map(int, np.concatenate([[row[0]], row[1:][row[1:] != row[:-1]]])))))
        for row in array.reshape(-1, array.shape[2])
    )
    assert module.runs_at_most(array, most) == (runs <= most)


def test_nothing():
    found = components(np.zeros((3, 4, 5), np.uint16))
    assert len(found.sizes) == len(found.values) == 0
    assert list(found.each()) == []
    assert len(components(np.zeros((0, 4, 5), np.uint8)).sizes) == 0


@given(volumes, st.sampled_from([6, 18, 26]))
@settings(max_examples=60)
def test_sizes_by_value_are_those_of_all_components(array, connectivity):
    found = components(array, connectivity)
    expected = {int(value): sorted(found.sizes[found.values == value]) for value in np.unique(found.values)}
    sizes = sizes_by_value(distinct(array), connectivity, 10_000)
    assert {value: sorted(of) for value, of in sizes.items()} == expected
    assert set(sizes_by_value(distinct(array), connectivity, 0).values()) <= {None}


@given(volumes, st.sampled_from([6, 18, 26]), st.data())
@settings(max_examples=60)
def test_repeated_planes_and_rows_count_as_often_as_they_are(array, connectivity, data):
    for axis in range(3):
        times = data.draw(st.lists(st.integers(1, 3), min_size=array.shape[axis], max_size=array.shape[axis]))
        array = np.repeat(array, times, axis=axis)
    few = distinct(array)
    np.testing.assert_array_equal(few.array.repeat(few.planes, axis=0).repeat(few.rows, axis=1), array)
    assert all((few.array[1:] != few.array[:-1]).any(axis=(1, 2)))
    assert all((few.array[:, 1:] != few.array[:, :-1]).any(axis=(0, 2)))
    found = components(array, connectivity)
    expected = {int(value): sorted(found.sizes[found.values == value]) for value in np.unique(found.values)}
    assert {value: sorted(of) for value, of in sizes_by_value(few, connectivity, 10_000).items()} == expected
