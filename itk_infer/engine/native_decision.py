"""Deciding on the case's own grid, straight from finished slabs of the model's grid.

Exactly "interpolate all logits linearly, then decide", without ever doing so: the native planes that a
slab completes are cut into blocks, and in a block only channels that can win are interpolated. An
interpolated value lies between the smallest and the largest of the model's voxels around the block, so
a channel whose largest lies below another's smallest cannot win anywhere in it. Inside an organ or in
the background one channel is left, and nothing is interpolated at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from itk_infer.engine.decision import Decision, winners
from itk_infer.engine.place import Slab
from itk_infer.volume.interpolation import ModelGrid
from itk_infer.volume.slab import DecidedSlab, LabelArray

Floats = NDArray[np.float32]
BLOCK = 48  # native voxels along Y and X; small enough for a cache, large enough for a matrix product
BLOCK_DEPTH = 8  # native planes decided at once


@dataclass(frozen=True, slots=True)
class Stretch:
    """A run of native voxels along one axis.

    Attributes:
        native: Which.
        model: The model's voxels around them.
        weights: Linear interpolation, (native voxels, model voxels) float32.
    """

    native: slice
    model: slice
    weights: Floats


def stretches(positions: NDArray[np.float64], count: int, length: int, first: int = 0) -> list[Stretch]:
    """Cut native voxels into runs.

    Args:
        positions: Where the native voxels lie among the model's; outside, the edge counts.
        count: Voxels of the model's axis.
        length: Native voxels a run at most.
        first: Number of the first native voxel.
    """
    inside = np.clip(positions, 0, count - 1)
    found = []
    for start in range(0, len(inside), length):
        here = inside[start : start + length]
        lower = np.minimum(here.astype(np.intp), max(count - 2, 0))
        begin, end = int(lower[0]), min(int(lower[-1]) + 2, count)
        weights = np.zeros((len(here), end - begin), np.float32)
        rows = np.arange(len(here))
        weights[rows, lower - begin] = 1 - (here - lower)
        above = np.minimum(lower + 1, end - 1) - begin
        weights[rows, above] += (here - lower).astype(np.float32)
        native = slice(first + start, first + start + len(here))
        found.append(Stretch(native, slice(begin, end), weights))
    return found


def decide_on_native(
    slabs: Iterable[Slab], grid: ModelGrid, decision: Decision, threads: int = 1
) -> Iterator[DecidedSlab]:
    """Decide native planes as slabs complete them.

    Args:
        slabs: Finished slabs of the model's grid, ascending and without gaps.
        grid: How the two grids correspond.
        decision: The rule.
        threads: Blocks decided at the same time.

    Yields:
        Decided slabs of the native grid, ascending and without gaps, without logits.
    """
    along_z, along_y, along_x = grid.axes
    positions = np.clip(along_z.model_positions(), 0, along_z.model - 1)
    tiles = list(
        product(
            stretches(along_y.model_positions(), along_y.model, BLOCK),
            stretches(along_x.model_positions(), along_x.model, BLOCK),
        )
    )
    ready = 0
    carried: Floats | None = None
    with ThreadPoolExecutor(threads) as pool:
        for slab in slabs:
            planes, first = slab.logits, slab.z0
            if carried is not None:
                planes, first = np.concatenate([carried, planes], axis=1), slab.z0 - 1
            last = first + planes.shape[1] - 1
            final = last == along_z.model - 1
            # A plane strictly below `last` has both neighbours here; the last one has no upper neighbour.
            stop = len(positions) if final else int(np.searchsorted(positions, last, side="left"))
            for layer in stretches(positions[ready:stop] - first, planes.shape[1], BLOCK_DEPTH, ready):
                yield _decide_layer(planes, layer, tiles, grid, decision, pool)
            ready = max(ready, stop)
            carried = planes[:, -1:].copy()


def _decide_layer(
    planes: Floats,
    layer: Stretch,
    tiles: list[tuple[Stretch, Stretch]],
    grid: ModelGrid,
    decision: Decision,
    pool: ThreadPoolExecutor,
) -> DecidedSlab:
    depth = layer.native.stop - layer.native.start
    shape = (depth, grid.axes[1].native, grid.axes[2].native)
    labels: LabelArray = np.empty(shape, decision.dtype)
    overlapping = decision.output.decision == "threshold"
    masks = np.empty((len(decision.table), *shape), np.bool_) if overlapping else None
    near = planes[:, layer.model]

    def decide(tile: tuple[Stretch, Stretch]) -> None:
        rows, columns = tile
        block = near[:, :, rows.model, columns.model]
        weights = (layer.weights, rows.weights, columns.weights)
        where = (slice(None), rows.native, columns.native)
        if masks is None:
            labels[where] = _argmax(block, weights, decision)
        else:
            masks[(slice(None), *where)] = _thresholds(block, weights, decision)

    for _ in pool.map(decide, tiles):
        pass
    if masks is not None:
        labels.fill(0)
        for label, mask in zip(decision.table, masks, strict=True):
            labels[mask] = label.value
    return DecidedSlab(layer.native.start, labels, masks)


def _argmax(block: Floats, weights: tuple[Floats, Floats, Floats], decision: Decision) -> LabelArray:
    """Label values of a block, or one value for all of it."""
    largest, smallest = block.max(axis=(1, 2, 3)), block.min(axis=(1, 2, 3))
    candidates = np.flatnonzero(largest >= smallest.max())
    values: LabelArray = decision.value_of_channel[candidates]
    if len(values) == 1 or (values == values[0]).all():
        return values[:1]
    found: LabelArray = values[winners(_interpolated(block[candidates], weights))]
    return found


def _thresholds(block: Floats, weights: tuple[Floats, Floats, Floats], decision: Decision) -> NDArray[np.bool_]:
    """Masks of a block, (L, dz, Y, X), each in the order of the label table."""
    shape = tuple(len(matrix) for matrix in weights)
    found = np.empty((len(decision.table), *shape), np.bool_)
    for index, label in enumerate(decision.table):
        channel = block[label.channel]
        if channel.min() > decision.bound or channel.max() <= decision.bound:
            found[index] = channel.flat[0] > decision.bound
        else:
            found[index] = _interpolated(channel[None], weights)[0] > decision.bound
    return found


def _interpolated(block: Floats, weights: tuple[Floats, Floats, Floats]) -> Floats:
    """Channels of a block on the native grid, axis by axis as matrix products, (K, dz, Y, X)."""
    along_z, along_y, along_x = weights
    channels, depth = block.shape[:2]
    wide = np.matmul(block, along_x.T)
    tall = np.matmul(along_y, wide)
    deep: Floats = np.matmul(along_z, tall.reshape(channels, depth, -1))
    return deep.reshape(channels, len(along_z), len(along_y), len(along_x))
