"""The decision on the case's native grid, computed from finished slabs on the model's grid.

Equals "interpolate all logits linearly, then decide" without interpolating all logits: the native planes
that a slab completes are cut into tiles, and in a tile only channels that can be the largest are
interpolated, a few at a time. Inside an organ or in the background one channel is left, and nothing is
interpolated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itk_infer.engine.blocks import BLOCK_VOXELS
from itk_infer.engine.candidates import candidates
from itk_infer.engine.decision import Decision, RunningArgmax
from itk_infer.engine.native import stacks
from itk_infer.engine.workspace import Slab
from itk_infer.volume.interpolation import ModelGrid
from itk_infer.volume.slab import DecidedSlab, LabelArray

Floats = NDArray[np.float32]
TILE = 32  # native voxels along Y and X: smaller tiles have fewer candidates, larger ones less overhead
TILE_DEPTH = 8  # native planes decided at once


@dataclass(frozen=True, slots=True)
class Interval:
    """A run of native voxels along one axis.

    Attributes:
        native: The native voxels.
        model: The model's voxels around them.
        weights: Weights of the linear interpolation, (native voxels, model voxels) float32.
    """

    native: slice
    model: slice
    weights: Floats


def intervals(positions: NDArray[np.float64], count: int, length: int, first: int = 0) -> list[Interval]:
    """Cut the native voxels of one axis into intervals.

    Args:
        positions: Positions of the native voxels among the model's; clipped to the model's grid.
        count: Voxels along the model's axis.
        length: Maximum native voxels per interval.
        first: Index of the first native voxel.
    """
    inside = np.clip(positions, 0, count - 1)
    cut = []
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
        cut.append(Interval(native, slice(begin, end), weights))
    return cut


def decide_on_native(
    slabs: Iterable[Slab], grid: ModelGrid, decision: Decision, threads: int = 1
) -> Iterator[DecidedSlab]:
    """Decide native planes as soon as slabs complete them.

    Args:
        slabs: Finished slabs on the model's grid, ascending and without gaps.
        grid: How the two grids correspond.
        decision: The decision rule.
        threads: Rows of tiles decided at the same time.

    Yields:
        Decided slabs on the native grid, ascending and without gaps, without logits.
    """
    along_z, along_y, along_x = grid.axes
    tiles = (
        intervals(along_y.model_positions(), along_y.model, TILE),
        intervals(along_x.model_positions(), along_x.model, TILE),
    )
    with ThreadPoolExecutor(threads) as pool:
        for stack in stacks(slabs, along_z):
            for layer in intervals(stack.positions, stack.planes.shape[1], TILE_DEPTH, stack.native):
                yield _decide_layer(stack.planes, layer, tiles, grid, decision, pool)
            del stack  # its planes are not kept while the next one is computed


def _decide_layer(
    planes: Floats,
    layer: Interval,
    tiles: tuple[list[Interval], list[Interval]],
    grid: ModelGrid,
    decision: Decision,
    pool: ThreadPoolExecutor,
) -> DecidedSlab:
    depth = layer.native.stop - layer.native.start
    shape = (depth, grid.axes[1].native, grid.axes[2].native)
    labels: LabelArray = np.empty(shape, decision.dtype)
    overlapping = decision.output.decision == "threshold"
    masks = np.empty((len(decision.painting), *shape), np.bool_) if overlapping else None
    near = planes[:, layer.model]
    every_rows, every_columns = tiles

    def decide(rows: Interval) -> None:
        strip = near[:, :, rows.model]
        if masks is None:
            able = candidates(strip, [columns.model for columns in every_columns])
        for index, columns in enumerate(every_columns):
            block = strip[:, :, :, columns.model]
            weights = (layer.weights, rows.weights, columns.weights)
            where = (slice(None), rows.native, columns.native)
            if masks is None:
                labels[where] = _argmax(block, np.flatnonzero(able[index]), weights, decision)
            else:
                masks[(slice(None), *where)] = _thresholds(block, weights, decision)

    for _ in pool.map(decide, every_rows):
        pass
    if masks is None:
        return DecidedSlab(layer.native.start, labels)
    decision.paint(masks, labels)
    return DecidedSlab(layer.native.start, labels, decision.of_labels(masks))


def _argmax(
    block: Floats, able: NDArray[np.intp], weights: tuple[Floats, Floats, Floats], decision: Decision
) -> LabelArray:
    """Label values of a block (broadcast where it has one value), from the channels that can be the largest."""
    values: LabelArray = decision.value_of_channel[able]
    if (values == values[0]).all():
        return values[:1]
    deep, tall, wide = (len(matrix) for matrix in weights)
    _, depth, rows, _ = block.shape
    argmax = RunningArgmax((deep, tall, wide), len(able))
    # So many channels at a time that intermediate products fit in the cache.
    step = max(1, BLOCK_VOXELS // (max(depth, deep) * max(rows, tall) * wide))
    for start in range(0, len(able), step):
        for number, channel in enumerate(_interpolated(block[able[start : start + step]], weights), start):
            argmax.update(number, channel)
    labels: LabelArray = values[argmax.winner]
    return labels


def _thresholds(block: Floats, weights: tuple[Floats, Floats, Floats], decision: Decision) -> NDArray[np.bool_]:
    """Masks of a block, (P, dz, Y, X), in the order of painting."""
    shape = tuple(len(matrix) for matrix in weights)
    masks = np.empty((len(decision.painting), *shape), np.bool_)
    for index, (label, bound) in enumerate(zip(decision.painting, decision.bounds, strict=True)):
        channel = block[label.channel]
        if channel.min() > bound or channel.max() <= bound:
            masks[index] = channel.flat[0] > bound
        else:
            masks[index] = _interpolated(channel[None], weights)[0] > bound
    return masks


def _interpolated(block: Floats, weights: tuple[Floats, Floats, Floats]) -> Floats:
    """Channels of a block on the native grid, (K, dz, Y, X): one matrix product per axis."""
    along_z, along_y, along_x = weights
    channels, depth, rows, columns = block.shape
    wide = np.matmul(block.reshape(-1, columns), along_x.T).reshape(channels, depth, rows, -1)
    tall = np.matmul(along_y, wide)
    deep: Floats = np.matmul(along_z, tall.reshape(channels, depth, -1))
    return deep.reshape(channels, len(along_z), len(along_y), len(along_x))
