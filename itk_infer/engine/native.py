"""Interpolation of finished slabs from the model's grid to the case's native grid, slab by slab."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itk_infer.arrays import Array, namespace
from itk_infer.engine.slabs import height_that_fits, in_pieces
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
    return filter(None, map(_Stacks(along_z, native).add, slabs))


class _Stacks:
    """Makes stacks of slabs; keeps one plane from slab to slab. Arguments: see `stacks`."""

    def __init__(self, along_z: AxisMap, native: range | None) -> None:
        wanted = native or range(along_z.native)
        self._positions = np.clip(along_z.model_positions(), 0, along_z.model - 1)[: wanted.stop]
        self._end = model_planes(along_z, wanted).stop - 1 if native else along_z.model - 1
        self._ready = wanted.start  # native planes returned so far, and those before
        self._carried: Array | None = None

    def add(self, slab: Slab) -> Stack | None:
        """Add the next slab; returns the native planes that it completes, if any."""
        planes, first = slab.logits, slab.z0
        xp = namespace(planes)
        if self._carried is not None:
            planes, first = xp.concat([self._carried, planes], axis=1), slab.z0 - 1
        last, start = first + planes.shape[1] - 1, self._ready
        # A plane strictly below `last` has both neighbours here; the last one has no upper neighbour.
        final = last == self._end
        stop = len(self._positions) if final else int(np.searchsorted(self._positions, last, side="left"))
        self._carried = None if final else xp.asarray(planes[:, -1:], copy=True)
        self._ready = max(start, stop)
        return Stack(planes, start, self._positions[start:stop] - first) if stop > start else None


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

    def wide(slab: Slab) -> Slab:
        return Slab(slab.z0, in_plane(slab.logits, grid))

    def pieces() -> Iterator[Slab]:
        for slab in slabs:
            cut = in_pieces(slab, height_that_fits(len(slab.logits), plane, slab_bytes))
            del slab
            yield from cut

    for stack in stacks(map(wide, pieces()), grid.axes[0], native):
        height = height_that_fits(len(stack.planes), plane, slab_bytes)
        starts = range(0, len(stack.positions), height)
        native_slabs = deque((stack.native + start, stack.positions[start : start + height]) for start in starts)
        planes = stack.planes
        del stack
        while native_slabs:
            first, wanted = native_slabs.popleft()
            found = deque([Slab(first, resample_axis(planes, wanted, 1, "linear"))])
            if not native_slabs:
                del planes  # nothing is kept while the next slab is computed, which takes the network
            yield found.popleft()
