"""Interpolation of finished slabs from the model's grid to the case's native grid, slab by slab."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itk_infer.arrays import Array, namespace
from itk_infer.engine.slabs import height_that_fits
from itk_infer.engine.workspace import Slab
from itk_infer.volume.interpolation import AxisMap, ModelGrid, resample_axis


@dataclass(frozen=True, slots=True)
class Stack:
    """Consecutive planes of the model's grid, and the native planes between them.

    Attributes:
        planes: Planes of the model's grid, (C, dz, Y, X).
        native: Index of the first native plane.
        positions: Position of each native plane along Z, in planes; 0 is the first of `planes`.
    """

    planes: Array
    native: int
    positions: NDArray[np.float64]


def model_planes(along_z: AxisMap, native: range) -> range:
    """The planes of the model's grid from which a range of native planes is interpolated."""
    positions = np.clip(along_z.model_positions()[native.start : native.stop], 0, along_z.model - 1)
    return range(int(positions[0]), int(np.ceil(positions[-1])) + 1)


def stacks(slabs: Iterable[Slab], along_z: AxisMap, native: range | None = None) -> Iterator[Stack]:
    """Group native planes by the slab that completes them; a native plane needs at most two neighbours.

    One plane is carried from slab to slab. Positions outside the model's grid are clipped to its edge.

    Args:
        slabs: Slabs on the model's grid.
        along_z: How the grids correspond.
        native: The native planes that are wanted; None: all. If given, slabs are those of `model_planes`.
    """
    wanted = native or range(along_z.native)
    positions = np.clip(along_z.model_positions(), 0, along_z.model - 1)[: wanted.stop]
    end = model_planes(along_z, wanted).stop - 1 if native else along_z.model - 1
    ready = wanted.start  # native planes yielded so far, and those before
    carried: Array | None = None
    for slab in slabs:
        planes, first = slab.logits, slab.z0
        xp = namespace(planes)
        if carried is not None:
            planes, first = xp.concat([carried, planes], axis=1), slab.z0 - 1
        del slab
        last = first + planes.shape[1] - 1
        final = last == end
        # A plane strictly below `last` has both neighbours here; the last one has no upper neighbour.
        stop = len(positions) if final else int(np.searchsorted(positions, last, side="left"))
        if stop > ready:
            yield Stack(planes, ready, positions[ready:stop] - first)
        ready = max(ready, stop)
        carried = xp.asarray(planes[:, -1:], copy=True)


def in_plane(planes: Array, grid: ModelGrid) -> Array:
    """Interpolate planes (C, dz, Y, X) along Y and X, if the grids differ along these axes."""
    for axis in (1, 2):
        if not grid.axes[axis].identity:
            planes = resample_axis(planes, grid.axes[axis].model_positions(), axis + 1, "linear")
    return planes


def to_native(
    slabs: Iterable[Slab], grid: ModelGrid, slab_bytes: int, native: range | None = None
) -> Iterator[Slab]:
    """Interpolate linearly to the native grid; positions outside the model's grid are clipped to its edge.

    Args:
        slabs: Finished slabs on the model's grid, ascending and without gaps.
        grid: How the two grids correspond.
        slab_bytes: Maximum bytes of a native slab's float32 logits.
        native: See `stacks`.
    """
    plane = grid.axes[1].native, grid.axes[2].native

    def wide() -> Iterator[Slab]:
        for slab in slabs:
            height = height_that_fits(len(slab.logits), plane, slab_bytes)
            for start in range(0, slab.logits.shape[1], height):
                yield Slab(slab.z0 + start, in_plane(slab.logits[:, start : start + height], grid))

    for stack in stacks(wide(), grid.axes[0], native):
        height = height_that_fits(len(stack.planes), plane, slab_bytes)
        for start in range(0, len(stack.positions), height):
            wanted = stack.positions[start : start + height]
            yield Slab(stack.native + start, resample_axis(stack.planes, wanted, 1, "linear"))
