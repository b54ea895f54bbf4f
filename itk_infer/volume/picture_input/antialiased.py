"""Linear resizing with antialiasing: the weighted mean of the input pixels around each output pixel.

The filter is that of Pillow's `BILINEAR`, a triangle of two input or output pixels, whichever are larger, and its
results are the same but for rounding. It is applied by products of small matrices, which takes a third
to a tenth of Pillow's time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from itk_infer.volume.picture_input.picture import Rows

Plane = NDArray[np.float32]
BLOCK = 16  # output rows, or columns, per product; more of them would have more weights of 0
AT_A_TIME = 1 << 16  # input pixels converted at a time; they should stay in the cache
MOST_KEPT = 1 << 18  # numbers in memory that a thread keeps; new memory takes as long as what is done in it
ON_ONE_THREAD = 1 << 18  # multiplications that OpenBLAS leaves to the calling thread
_KEPT = threading.local()


def antialiased(plane: Plane | Rows, size: tuple[int, int]) -> Plane:
    """Resize a plane (Y, X) to `size`, rows and columns; few of its rows are converted at a time."""
    rows, columns = size
    narrow = _own("narrow", (rows, plane.shape[1]))
    blocks = _blocks(plane.shape[0], rows, plane.shape[1])
    ranges = [taken for _, taken, _ in blocks]
    parts = map(plane.__getitem__, ranges) if isinstance(plane, np.ndarray) else _parts(plane, ranges)
    for (out, _, weights), part in zip(blocks, parts, strict=True):
        np.matmul(weights, part, out=narrow[out])
    made = np.empty(size, np.float32)
    for out, taken, weights in _blocks(plane.shape[1], columns, rows):
        np.matmul(narrow[:, taken], weights.T, out=made[:, out])
    return made


def _parts(plane: Rows, wanted: Sequence[slice]) -> Iterator[Plane]:
    """Yield ranges of a plane's rows, in ascending order; each row is converted once."""
    rows, columns = plane.shape
    at_a_time = max(AT_A_TIME // columns, *(taken.stop - taken.start for taken in wanted))
    held = _own("held", (at_a_time, columns))
    first = stop = 0  # rows in it
    for taken in wanted:
        if taken.stop > stop:
            kept = max(0, stop - taken.start)
            held[:kept] = held[stop - first - kept : stop - first]
            first, begin = taken.start, taken.start + kept
            stop = min(first + at_a_time, rows)
            plane.write(slice(begin, stop), held[kept : stop - first])
        yield held[taken.start - first : taken.stop - first]


def _own(name: str, shape: tuple[int, int]) -> Plane:
    """Memory that this thread keeps under a name, unless it is large."""
    count = shape[0] * shape[1]
    if count > MOST_KEPT:
        return np.empty(shape, np.float32)
    kept: Plane | None = getattr(_KEPT, name, None)
    if kept is None or kept.size < count:
        kept = np.empty(count, np.float32)
        setattr(_KEPT, name, kept)
    return kept[:count].reshape(shape)


@lru_cache(maxsize=64)
def _blocks(have: int, wanted: int, across: int) -> tuple[tuple[slice, slice, Plane], ...]:
    """Weights of `wanted` means of `have` pixels: per block its outputs, its inputs, and (outputs, inputs).

    Args:
        have: Pixels along the axis.
        wanted: Pixels along the axis after resizing.
        across: Pixels along the other axis; products are kept small enough for one thread.
    """
    scale = have / wanted
    reach = max(scale, 1.0)
    centres = (np.arange(wanted) + 0.5) * scale
    first = np.maximum(centres - reach + 0.5, 0).astype(np.intp)
    last = np.minimum(centres + reach + 0.5, have).astype(np.intp)
    blocks, at = [], 0
    while at < wanted:
        end = min(at + BLOCK, wanted)
        while end > at + 1 and (end - at) * (last[end - 1] - first[at]) * across > ON_ONE_THREAD:
            end = (at + end) // 2
        pixels = np.arange(first[at], last[end - 1])
        weights = np.maximum(0.0, 1.0 - np.abs(pixels + 0.5 - centres[at:end, None]) / reach)
        weights[(pixels < first[at:end, None]) | (pixels >= last[at:end, None])] = 0.0
        weights /= weights.sum(axis=1, keepdims=True)
        taken = slice(int(first[at]), int(last[end - 1]))
        blocks.append((slice(at, end), taken, weights.astype(np.float32)))
        at = end
    return tuple(blocks)
