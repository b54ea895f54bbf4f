"""Connected components of equal values, by runs of voxels along the last axis.

A run is a maximal row of voxels of one value. Runs are far fewer than voxels, so components are found without a
second volume. The pairs of touching runs are the edges of a graph, whose connected parts are found by hooking
roots onto smaller ones and shortening paths (Shiloach and Vishkin 1982).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from itk_infer.volume.box import Box

Indices = NDArray[np.int64]
# Neighbouring later lines as offsets (Z, Y), and the largest gap along X at which runs still touch.
FOLLOWING = {
    6: (((0, 1), 0), ((1, 0), 0)),
    18: (((0, 1), 1), ((1, -1), 0), ((1, 0), 1), ((1, 1), 0)),
    26: (((0, 1), 1), ((1, -1), 1), ((1, 0), 1), ((1, 1), 1)),
    4: (((0, 1), 0),),
}
VOXELS_AT_ONCE = 1 << 22


@dataclass(frozen=True, slots=True)
class Components:
    """The connected components of an array, except those of the value 0.

    Attributes:
        shape: Shape of the array, (Z, Y, X).
        start: First voxel of each run, as an index into the flattened array, (R,), ascending.
        length: Number of voxels of each run, (R,).
        of_run: Component of each run, (R,); components are numbered by their first voxel.
        values: Value of each component, (K,).
        sizes: Number of voxels of each component, (K,).
    """

    shape: tuple[int, int, int]
    start: Indices
    length: Indices
    of_run: Indices
    values: NDArray[np.unsignedinteger[Any]]
    sizes: Indices

    def put(self, array: NDArray[Any], chosen: NDArray[np.bool_], value: int) -> None:
        """Set the voxels of the chosen components, (K,), to a value, in a contiguous array of the same shape."""
        runs = np.flatnonzero(chosen[self.of_run])
        flat = array.reshape(-1)
        ends = np.cumsum(self.length[runs])
        first = 0
        while first < len(runs):
            done = ends[first - 1] if first else 0
            last = max(first + 1, int(np.searchsorted(ends, done + VOXELS_AT_ONCE, side="right")))
            some = runs[first:last]
            flat[_expanded(self.start[some], self.length[some])] = value
            first = last

    def each(self, smallest: Sequence[int] = (1, 1, 1)) -> Iterator[tuple[int, Box, NDArray[np.bool_]]]:
        """Value, bounding box and mask within it of each component, by value, then by first voxel.

        Args:
            smallest: Components whose box is smaller along an axis (Z, Y, X) are skipped.
        """
        order = np.argsort(self.of_run, kind="stable")
        begin = np.searchsorted(self.of_run[order], np.arange(len(self.sizes) + 1))
        if not len(self.sizes):
            return
        z, y, x = np.unravel_index(self.start[order], self.shape)
        length = self.length[order]
        first = np.stack([np.minimum.reduceat(axis, begin[:-1]) for axis in (z, y, x)], axis=1)
        ends = (z + 1, y + 1, x + length)
        sizes = np.stack([np.maximum.reduceat(axis, begin[:-1]) for axis in ends], axis=1) - first
        large = np.flatnonzero(np.all(sizes >= smallest, axis=1))
        for number in large[np.argsort(self.values[large], kind="stable")]:
            own = slice(begin[number], begin[number + 1])
            (z0, y0, x0), (depth, rows, columns) = first[number].tolist(), sizes[number].tolist()
            mask = np.zeros((depth, rows, columns), np.bool_)
            start = ((z[own] - z0) * rows + (y[own] - y0)) * columns + (x[own] - x0)
            mask.reshape(-1)[_expanded(start, length[own])] = True
            box = slice(z0, z0 + depth), slice(y0, y0 + rows), slice(x0, x0 + columns)
            yield int(self.values[number]), box, mask

    def at_border(self) -> NDArray[np.bool_]:
        """Whether components touch a face of the array across Y, X or, if there are several planes, Z; (K,)."""
        z, y, x = np.unravel_index(self.start, self.shape)
        depth, rows, columns = self.shape
        at = (y == 0) | (y == rows - 1) | (x == 0) | (x + self.length == columns)
        at |= (z == 0) | (z == depth - 1)
        return self._any(at)

    def at_border_of_planes(self) -> NDArray[np.bool_]:
        """Whether each component touches the edge of a plane; (K,)."""
        _, y, x = np.unravel_index(self.start, self.shape)
        return self._any((y == 0) | (y == self.shape[1] - 1) | (x == 0) | (x + self.length == self.shape[2]))

    def _any(self, runs: NDArray[np.bool_]) -> NDArray[np.bool_]:
        found = np.zeros(len(self.sizes), np.bool_)
        found[self.of_run[runs]] = True
        return found


def components(array: NDArray[Any], connectivity: int = 26) -> Components:
    """Find the connected components of equal values other than 0.

    Args:
        array: Unsigned integers, (Z, Y, X).
        connectivity: Neighbours of a voxel: 6 (faces), 18 (edges, too), 26 (corners, too); 4: in planes across Z.
    """
    z, y, x = array.shape
    return _of_runs((z, y, x), *runs_of(array), connectivity)


class Distinct(NamedTuple):
    """An array whose planes, and rows, all differ from the one before.

    Attributes:
        array: (Z, Y, X).
        planes: Equal planes that each plane stands for, (Z,).
        rows: Equal rows of every plane that each row stands for, (Y,).
    """

    array: NDArray[Any]
    planes: Indices
    rows: Indices


def distinct(array: NDArray[Any]) -> Distinct:
    """Drop planes, and rows, (Z, Y, X), that equal the one before; interpolation by nearest neighbour makes many.

    Components stay the same, but for connectivity 4.
    """
    first = [z for z in range(len(array)) if z == 0 or not np.array_equal(array[z], array[z - 1])]
    planes = np.diff(first, append=len(array))
    if len(first) < len(array):
        array = array[first]
    new = np.zeros(array.shape[1], np.bool_)
    new[:1] = True
    for plane in array:
        same = np.flatnonzero(~new)
        new[same] = (plane[same] != plane[same - 1]).any(axis=1)
    kept = np.flatnonzero(new)
    rows = np.diff(kept, append=array.shape[1])
    return Distinct(array if new.all() else array[:, kept], planes, rows)


def sizes_by_value(labels: Distinct, connectivity: int, most_runs: int) -> dict[int, Indices | None]:
    """Voxel counts of components, by value; None for a value with more runs of voxels than `most_runs`.

    Values are processed one at a time: memory is that of the value with the most runs, about 150 bytes per run.

    Args:
        labels: Unsigned integers.
        connectivity: Neighbours of a voxel: 6, 18 or 26.
        most_runs: Largest number of runs of a value, in the distinct planes and rows.
    """
    z, y, x = labels.array.shape
    start, length, value = runs_of(labels.array)
    line = start // max(1, x)
    voxels = length * labels.planes[line // max(1, y)] * labels.rows[line % max(1, y)]
    sizes: dict[int, Indices | None] = {}
    for number, runs in zip(*np.unique(value, return_counts=True), strict=True):
        own = value == number
        few = int(runs) <= most_runs
        found = _of_runs((z, y, x), start[own], length[own], value[own], connectivity) if few else None
        # Sums are exact below 2^53.
        sizes[int(number)] = None if found is None else np.bincount(found.of_run, voxels[own]).astype(np.int64)
    return sizes


def _of_runs(
    shape: tuple[int, int, int], start: Indices, length: Indices, value: NDArray[Any], connectivity: int
) -> Components:
    parent = np.arange(len(start))
    for offset, reach in FOLLOWING[connectivity]:
        first, second = _touching(start, length, value, shape, offset, reach)
        parent = _joined(parent, first, second)
    roots = np.flatnonzero(parent == np.arange(len(parent)))
    number = np.zeros(len(parent), np.int64)
    number[roots] = np.arange(len(roots))
    of_run = number[parent]
    sizes = np.bincount(of_run, length, minlength=len(roots)).astype(np.int64)  # exact below 2^53
    return Components(shape, start, length, of_run, value[roots], sizes)


def runs_at_most(array: NDArray[Any], most: int) -> bool:
    """Whether an array has no more runs than `most`; stops counting once there are."""
    step, found = max(1, VOXELS_AT_ONCE // max(1, array.shape[1] * array.shape[2])), 0
    for z in range(0, array.shape[0], step):
        found += len(runs_of(array[z : z + step])[0])
        if found > most:
            return False
    return True


def runs_of(array: NDArray[Any]) -> tuple[Indices, Indices, NDArray[Any]]:
    """Start (index into the flattened array), length and value of every run that is not 0, each (R,)."""
    per_plane = max(1, array.shape[1] * array.shape[2])
    step = max(1, VOXELS_AT_ONCE // per_plane)
    parts: list[tuple[Indices, Indices, NDArray[Any]]] = []
    for z in range(0, array.shape[0], step):
        planes = np.ascontiguousarray(array[z : z + step])
        edge = np.empty(planes.shape, np.bool_)
        edge[..., 0] = True
        np.not_equal(planes[..., 1:], planes[..., :-1], out=edge[..., 1:])
        starts = np.flatnonzero(edge)
        lengths = np.diff(starts, append=planes.size)
        values = planes.reshape(-1)[starts]
        kept = values != 0
        parts.append((starts[kept] + z * per_plane, lengths[kept], values[kept]))
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, array.dtype)
    starts, lengths, values = (np.concatenate(each) for each in zip(*parts, strict=True))
    return starts, lengths, values


def _touching(
    start: Indices,
    length: Indices,
    value: NDArray[Any],
    shape: tuple[int, int, int],
    offset: tuple[int, int],
    reach: int,
) -> tuple[Indices, Indices]:
    """Pairs of touching runs of one value; the second lies on the line `offset` (Z, Y) after the first's."""
    _, rows, columns = shape
    line, x = np.divmod(start, columns)
    y = line % rows
    inside = (y + offset[1] >= 0) & (y + offset[1] < rows)
    own = np.flatnonzero(inside)
    base = (line[own] + offset[0] * rows + offset[1]) * columns
    lowest = base + np.maximum(x[own] - reach, 0)
    highest = base + np.minimum(x[own] + length[own] - 1 + reach, columns - 1)
    first = np.searchsorted(start + length - 1, lowest)
    last = np.searchsorted(start, highest, side="right")
    count = np.maximum(last - first, 0)
    left, right = np.repeat(own, count), _expanded(first, count)
    same = value[left] == value[right]
    return left[same], right[same]


def _joined(parent: Indices, left: Indices, right: Indices) -> Indices:
    """The root of every run after joining these pairs; a root is the smallest run number of its component."""
    while len(left):
        a, b = parent[left], parent[right]
        apart = a != b
        left, right, a, b = left[apart], right[apart], a[apart], b[apart]
        if not len(left):
            break
        parent[np.maximum(a, b)] = np.minimum(a, b)  # if roots repeat, the next pass joins the rest
        while True:
            grand = parent[parent]
            if np.array_equal(grand, parent):
                break
            parent = grand
    return parent


def _expanded(first: Indices, count: Indices) -> Indices:
    """Concatenation of ``first[i], first[i] + 1, ...`` with `count[i]` numbers, for each i."""
    total = int(count.sum())
    ends = np.cumsum(count)
    expanded: Indices = np.arange(total) + np.repeat(first - (ends - count), count)
    return expanded
