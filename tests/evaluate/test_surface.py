"""Surface distances: known answers, other programs, and what must hold of any two surfaces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itk_infer.evaluate.surface import CHUNK_VOXELS, distances, surface_of

KNOWN = [
    "box_shifted_z",
    "box_shifted_x",
    "balls",
    "balls_and_a_far_island",
    "cut_by_the_border",
    "sheet",
    "labels_absent_on_one_side",
    "hippocampus_001",
    "hippocampus_033",
]
ALL = ("hd", "hd95", "nsd", "assd")


def whole(array):
    return tuple(slice(0, size) for size in array.shape)


def measured(mask, truth, value=1, spacing=(1.0, 1.0, 1.0), tolerance=1.0, **more):
    pair = (surface_of(array, value, whole(array), spacing, **more) for array in (mask, truth))
    return distances(*pair, tolerance)


def blobs(seed, shape=(14, 17, 15)):
    rng = np.random.default_rng(seed)
    array = np.zeros(shape, np.uint8)
    for _ in range(3):
        low = rng.integers(0, np.array(shape) - 3)
        high = low + rng.integers(2, 8, 3)
        array[tuple(slice(a, b) for a, b in zip(low, high))] = 1
    return array


@pytest.mark.parametrize("name", KNOWN)
def test_known_answers(name, known, known_pair):
    entry = known["metrics"][name]
    mask, truth = known_pair(name)
    for value, answers in entry["labels"].items():
        if answers["hd"] in (None, "inf"):
            continue  # see test_metrics.py
        found = measured(mask, truth, int(value), tuple(entry["spacing_zyx"]), entry["tolerance_mm"])
        assert {key: getattr(found, key) for key in ALL} == pytest.approx({k: answers[k] for k in ALL}, abs=2e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("seed", range(3))
def test_hd95_is_that_of_pymia(seed):
    theirs = pytest.importorskip("pymia.evaluation.metric", exc_type=ImportError)
    mask, truth = blobs(seed), blobs(seed + 100)
    spacing = (2.0, 1.0, 0.7)
    hd95, nsd = theirs.HausdorffDistance(95), theirs.SurfaceDiceOverlap(1.5)
    hd95.distances = nsd.distances = theirs.Distances(mask == 1, truth == 1, spacing)
    found = measured(mask, truth, spacing=spacing, tolerance=1.5)
    assert found.hd95 == pytest.approx(hd95.calculate(), abs=0.005)
    assert found.nsd == pytest.approx(nsd.calculate(), abs=1e-3)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("seed", range(3))
def test_nsd_is_that_of_monai_with_subvoxels(seed):
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("monai.metrics")
    mask, truth = np.pad(blobs(seed), 1), np.pad(blobs(seed + 100), 1)
    one, other = (torch.from_numpy(np.stack([a == 0, a == 1])[None].astype(np.float32)) for a in (mask, truth))
    theirs = metrics.compute_surface_dice(one, other, [1.5], spacing=(2.0, 1.0, 0.7), use_subvoxels=True)
    found = measured(mask, truth, spacing=(2.0, 1.0, 0.7), tolerance=1.5)
    assert found.nsd == pytest.approx(float(theirs), abs=1e-3)


def test_two_plates_are_as_far_apart_as_they_are():
    mask, truth = np.zeros((12, 6, 6), np.uint8), np.zeros((12, 6, 6), np.uint8)
    mask[2:4], truth[5:7] = 1, 1
    found = measured(mask, truth, spacing=(1.5, 1.0, 1.0), tolerance=4.5, open_border=True)
    assert (found.hd, found.nsd) == (4.5, 1.0)
    # The surfaces at Z 2, 4 and 5, 7 are 3 and 1 voxels from the nearest of the other plate.
    assert found.assd == pytest.approx(1.5 * (3 + 1) / 2)
    assert found.hd95 == 4.5
    assert measured(mask, truth, spacing=(1.5, 1.0, 1.0), tolerance=1.5, open_border=True).nsd == 0.5


def test_the_border_of_the_image_is_a_surface_unless_it_is_open():
    cut = np.zeros((6, 8, 8), np.uint8)
    cut[:3, 2:6, 2:6] = 1
    closed = surface_of(cut, 1, whole(cut), (1.0, 1.0, 1.0))
    padded = np.pad(cut, 2)
    np.testing.assert_allclose(
        np.sort(closed.areas), np.sort(surface_of(padded, 1, whole(padded), (1, 1, 1)).areas)
    )
    opened = surface_of(cut, 1, whole(cut), (1.0, 1.0, 1.0), open_border=True)
    assert opened.points[:, 0].min() == 1
    full = np.ones((4, 4, 4), np.uint8)
    assert len(surface_of(full, 1, whole(full), (1, 1, 1), open_border=True).points) == 0


def test_chunks_and_boxes_change_nothing(monkeypatch):
    array = np.pad(blobs(5, (9, 20, 20)), 3)
    boxed = surface_of(array, 1, (slice(3, 12), slice(3, 23), slice(3, 23)), (1, 1, 1))
    everything = surface_of(array, 1, whole(array), (1, 1, 1))
    monkeypatch.setattr("itk_infer.evaluate.surface.CHUNK_VOXELS", 500)
    pieces = surface_of(array, 1, whole(array), (1, 1, 1))
    assert CHUNK_VOXELS > 500
    for other in (boxed, pieces):
        np.testing.assert_array_equal(everything.points, other.points)
        np.testing.assert_array_equal(everything.areas, other.areas)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.permutations((0, 1, 2)), st.tuples(*[st.booleans()] * 3), st.integers(0, 3))
def test_moving_turning_and_swapping_both_changes_nothing(seed, axes, flips, moved):
    mask, truth = blobs(seed), blobs(seed + 1)
    spacing = np.array((2.0, 1.0, 0.7))
    before = measured(mask, truth, spacing=tuple(spacing))

    def turned(array):
        flipped = np.flip(array, [axis for axis in range(3) if flips[axis]])
        return np.ascontiguousarray(np.pad(flipped, ((moved, 0),) * 3).transpose(axes))

    after = measured(turned(truth), turned(mask), spacing=tuple(spacing[list(axes)]))
    for key in ALL:
        assert getattr(after, key) == pytest.approx(getattr(before, key), rel=1e-9), key


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_distances_are_those_between_all_pairs_of_points(seed):
    mask, truth = blobs(seed, (9, 8, 10)), blobs(seed + 7, (9, 8, 10))
    one, other = (surface_of(a, 1, whole(a), (1.5, 1.0, 0.8)) for a in (mask, truth))
    every = np.linalg.norm(one.points[:, None] - other.points[None], axis=2)
    found = distances(one, other, 1.0)
    assert found.hd == pytest.approx(max(every.min(axis=0).max(), every.min(axis=1).max()))
    sums = every.min(axis=1) @ one.areas + every.min(axis=0) @ other.areas
    assert found.assd == pytest.approx(sums / (one.areas.sum() + other.areas.sum()))
