"""The ring, block by block, against multiplying and adding whole windows in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from itk_infer.engine import accumulator
from itk_infer.engine.accumulator import HostAccumulator
from itk_infer.engine.blocks import blocks


def plainly(total, logits, weights, origin):
    """The same sums over a whole volume, multiplying first, then adding."""
    z, y, x = weights
    here = tuple(slice(start, start + count) for start, count in zip(origin, logits.shape[1:]))
    weighted = logits.astype(np.float32) * (z[:, None, None] * (y[:, None] * x))
    total[(slice(None), *here)] += weighted


@pytest.mark.parametrize("patch", [(5, 6, 7), (1, 9, 3), (7, 1, 1)])
@pytest.mark.parametrize("kind", ["float32", "float16", "float64", "fortran", "strided"])
@pytest.mark.parametrize("voxels", [1, 13, 50, 10_000])
def test_equals_whole_windows_to_the_bit(monkeypatch, patch, kind, voxels):
    monkeypatch.setattr(accumulator, "blocks", lambda shape: blocks(shape, voxels))
    rng = np.random.default_rng(0)
    dz, dy, dx = patch
    depth, plane = 3 * dz, (dy + 4, dx + 5)
    ring = HostAccumulator(3, dz, plane)
    total = np.zeros((3, depth, *plane), np.float32)
    ready = 0
    for z in sorted({0, dz // 2, dz, 2 * dz - 1, 2 * dz}):  # the ring wraps within a window
        for start in range(ready, z):
            np.testing.assert_array_equal(ring.take(start, start + 1), total[:, start : start + 1])
        ready = z
        for y, x in ((0, 0), (3, 2), (4, 5)):
            logits = rng.normal(size=(3, *patch)) * 100
            logits = logits.astype(kind if kind.startswith("float") else np.float32)
            if kind == "fortran":
                logits = np.asfortranarray(logits)
            if kind == "strided":
                logits = np.repeat(logits, 2, axis=3)[..., ::2]
            logits.flags.writeable = False
            weights = tuple(rng.random(count).astype(np.float32) for count in patch)
            ring.add(logits, weights, (z, y, x))
            plainly(total, logits, weights, (z, y, x))
    np.testing.assert_array_equal(ring.take(ready, depth), total[:, ready:])
    assert not ring.take(0, dz).any()  # what was taken is forgotten


def test_a_row_longer_than_a_block():
    ring = HostAccumulator(1, 1, (2, 40_000))
    ones = [np.ones(count, np.float32) for count in (1, 2, 40_000)]
    ring.add(np.full((1, 1, 2, 40_000), 2, np.float32), tuple(ones), (0, 0, 0))
    assert (ring.take(0, 1) == 2).all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 3, 5), (7, 11, 2), (1, 20, 30)])
@pytest.mark.parametrize("voxels", [1, 7, 30, 61, 10_000])
def test_blocks_cover_every_voxel_once_within_their_size(shape, voxels):
    count = np.zeros(shape, int)
    for block in blocks(shape, voxels):
        count[block] += 1
        assert count[block].size <= max(voxels, shape[2])
    assert (count == 1).all()


@pytest.mark.parametrize("where", ["host", "device"])
def test_a_floor_divides_by_the_sum_of_the_raised_weights(where):
    rng = np.random.default_rng(0)
    dz, dy, dx = patch = (4, 5, 6)
    depth, plane, floor = 7, (8, 9), 0.3
    ring: Any = HostAccumulator(2, dz, plane, floor)
    if where == "device":
        torch = pytest.importorskip("torch")
        from itk_infer.engine.device.accumulator import DeviceAccumulator

        ring = DeviceAccumulator(2, dz, plane, torch.device("cpu"), floor)
    total, weight, planes, done = np.zeros((2, depth, *plane)), np.zeros((depth, *plane)), [], 0
    for z in (0, 2, 3):
        planes += [np.asarray(ring.take(done, z))] if z > done else []
        done = z
        for y, x in np.ndindex(4, 4):
            logits = rng.normal(size=(2, *patch)).astype(np.float32)
            profiles = tuple(rng.random(size).astype(np.float32) for size in patch)
            given = logits if where == "host" else torch.from_numpy(logits)
            ring.add(given, profiles, (z, y, x))
            raised = np.maximum(np.einsum("z,y,x->zyx", *profiles), floor)
            here = (slice(z, z + dz), slice(y, y + dy), slice(x, x + dx))
            total[(slice(None), *here)] += logits * raised
            weight[here] += raised
    planes.append(np.asarray(ring.take(done, depth)))
    np.testing.assert_allclose(np.concatenate(planes, axis=1), total / weight, atol=1e-5)
