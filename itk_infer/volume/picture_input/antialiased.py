"""Linear resizing with antialiasing: the weighted mean of the input pixels around each output pixel.

The filter is that of Pillow's `BILINEAR`, a triangle of two input or output pixels, whichever are larger, and its
results are the same but for rounding. It is applied by products of small matrices, which takes a third
to a tenth of Pillow's time.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from itk_infer.volume.picture_input.picture import Rows

Plane = NDArray[np.float32]
BLOCK = 16  # output rows, or columns, per product; more of them would have more weights of 0
AT_A_TIME = 1 << 16  # input pixels asked for at a time; they should stay in the cache
ON_ONE_THREAD = 1 << 18  # multiplications that OpenBLAS leaves to the calling thread


def antialiased(plane: Rows, size: tuple[int, int]) -> Plane:
    """Resize a plane (Y, X) to `size`, rows and columns; few of its rows are asked for at a time."""
    rows, columns = size
    narrow = np.empty((rows, plane.shape[1]), np.float32)
    first, part = 0, plane[:0]
    for out, taken, weights in _blocks(plane.shape[0], rows, plane.shape[1]):
        if taken.stop > first + len(part):
            first = taken.start
            part = plane[first : max(taken.stop, first + AT_A_TIME // plane.shape[1])]
        np.matmul(weights, part[taken.start - first : taken.stop - first], out=narrow[out])
    made = np.empty(size, np.float32)
    for out, taken, weights in _blocks(plane.shape[1], columns, rows):
        np.matmul(narrow[:, taken], weights.T, out=made[:, out])
    return made


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
