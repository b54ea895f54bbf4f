"""From windows to finished slabs: planes that no later window can touch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.engine.accumulator import Accumulator, HostAccumulator
from itk_infer.engine.finite import all_finite
from itk_infer.engine.windows import WindowGrid
from itk_infer.errors import InferenceError

Floats = NDArray[np.float32]
Forward = Callable[[Floats], NDArray[np.floating[Any]]]
MakeAccumulator = Callable[[int, int, tuple[int, int]], Accumulator]
SLAB_BYTES = 8 * 2**20  # of float32 logits; deciding needs a few times as much


@dataclass(frozen=True, slots=True)
class Slab:
    """Finished planes ``z0`` to ``z0 + dz`` of a volume: logits (C, dz, Y, X), padding cropped."""

    z0: int
    logits: Floats


def height_that_fits(channels: int, plane: tuple[int, int]) -> int:
    """Planes of a slab that keep its logits within `SLAB_BYTES`, at least one."""
    return max(1, SLAB_BYTES // (4 * channels * plane[0] * plane[1]))


def finished_slabs(
    array: Floats,
    grid: WindowGrid,
    forward: Forward,
    *,
    batch: int = 1,
    slab_height: int | None = None,
    on_windows: Callable[[int], None] = lambda done: None,
    accumulator: MakeAccumulator = HostAccumulator,
) -> Iterator[Slab]:
    """Slide the window and yield slabs in ascending Z, without gaps.

    Args:
        array: The padded volume, (C_in, Z, Y, X).
        grid: Its windows.
        forward: (N, C_in, *patch) to (N, C_out, *patch).
        batch: Windows a call.
        slab_height: Planes a slab at most, by default what fits `SLAB_BYTES`; changes nothing but
            the memory that deciding needs.
        on_windows: Told after each call how many windows are done.
        accumulator: Makes the place where overlaps are summed.

    Raises:
        InferenceError: the network's answer has a wrong shape or is not finite.
    """
    ring: Accumulator | None = None
    whole = len(grid) == 1
    z_axis = grid.axes[0]
    # The windows of the k-th Z origin finish the planes up to the next origin.
    finished = [*pairwise(z_axis.origins), (z_axis.origins[-1], z_axis.padded)]
    left = [len(grid.axes[1].origins) * len(grid.axes[2].origins)] * len(finished)
    done = 0
    windows = iter(grid)
    while indices := list(islice(windows, batch)):
        origins = [grid.origin(index) for index in indices]
        answers = _checked(forward(gather(array, origins, grid.patch)), origins, grid.patch)
        done += len(indices)
        on_windows(done)
        height = slab_height or height_that_fits(answers.shape[1], grid.padded_size[1:])
        if whole:
            yield from _cropped(0, answers[0], grid, height)
            return
        for index, origin, logits in zip(indices, origins, answers, strict=True):
            if ring is None:
                ring = accumulator(len(logits), z_axis.patch, grid.padded_size[1:])
            z, y, x = (axis.weights[i] for axis, i in zip(grid.axes, index, strict=True))
            ring.add(logits, (z, y, x), origin)
            left[index[0]] -= 1
            if left[index[0]] == 0:
                z0, z1 = finished[index[0]]
                for start in range(z0, z1, height):
                    planes = ring.take(start, min(z1, start + height))
                    yield from _cropped(start, planes, grid, height)


def gather(array: Floats, origins: list[tuple[int, int, int]], patch: tuple[int, int, int]) -> Floats:
    """Windows at `origins` of a volume (C, Z, Y, X), as one batch (N, C, *patch)."""
    dz, dy, dx = patch
    return np.stack([array[:, z : z + dz, y : y + dy, x : x + dx] for z, y, x in origins])


def _checked(
    answers: NDArray[np.floating[Any]], origins: list[tuple[int, int, int]], patch: tuple[int, int, int]
) -> Floats:
    if answers.ndim != 5 or answers.shape[0] != len(origins) or answers.shape[2:] != patch:
        raise InferenceError(
            f"the network answered with shape {answers.shape} to {len(origins)} windows of {patch}; "
            "it must answer (N, channels, Z, Y, X) of the same size: check the patch size and the model"
        )
    logits = answers.astype(np.float32, copy=False)
    for origin, window in zip(origins, logits, strict=True):
        if not all_finite(window):
            raise InferenceError(
                f"the network answered NaN or infinity in the window at {origin} (Z Y X); "
                "the input may be far from what it was trained on, or half precision overflowed"
            )
    return logits


def _cropped(z0: int, logits: Floats, grid: WindowGrid, height: int) -> Iterator[Slab]:
    """The part of padded planes from `z0` on that belongs to the volume, in pieces of `height`."""
    z, y, x = grid.axes
    first = max(z0, z.pad_before)
    last = min(z0 + logits.shape[1], z.pad_before + z.size)
    for start in range(first, last, height):
        stop = min(last, start + height)
        rows = slice(y.pad_before, y.pad_before + y.size)
        columns = slice(x.pad_before, x.pad_before + x.size)
        yield Slab(start - z.pad_before, logits[:, start - z0 : stop - z0, rows, columns])
