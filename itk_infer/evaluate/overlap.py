"""The joint histogram of two label maps, for the overlap metrics of all labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.unsignedinteger[Any]]
BLOCK_VOXELS = 2**16


@dataclass(frozen=True, slots=True)
class JointCounts:
    """Numbers of voxels by their values in two label maps.

    Attributes:
        pairs: Number of voxels by (value in the mask, value in the truth); pairs that do not occur are missing.
    """

    pairs: dict[tuple[int, int], int]

    def in_mask(self, value: int) -> int:
        """Number of voxels with a value in the mask."""
        return sum(count for (mask, _), count in self.pairs.items() if mask == value)

    def in_truth(self, value: int) -> int:
        """Number of voxels with a value in the truth."""
        return sum(count for (_, truth), count in self.pairs.items() if truth == value)

    def common(self, mask: int, truth: int) -> int:
        """Number of voxels with these two values."""
        return self.pairs.get((mask, truth), 0)

    @property
    def mask_values(self) -> list[int]:
        """Values that occur in the mask, without 0."""
        return sorted({mask for mask, _ in self.pairs if mask})

    @property
    def truth_values(self) -> list[int]:
        """Values that occur in the truth, without 0."""
        return sorted({truth for _, truth in self.pairs if truth})


def joint_counts(mask: Labels, truth: Labels) -> JointCounts:
    """Compute the joint histogram.

    Args:
        mask: Label map, unsigned integers of at most 16 bits.
        truth: Another one of the same shape.
    """
    pairs: dict[tuple[int, int], int] = {}
    one, other = mask.ravel(), truth.ravel()  # views if the arrays are contiguous
    for start in range(0, one.size, BLOCK_VOXELS):
        a, b = one[start : start + BLOCK_VOXELS], other[start : start + BLOCK_VOXELS]
        columns, rows = int(b.max()) + 1, int(a.max()) + 1
        if columns == rows == 1:
            pairs[0, 0] = pairs.get((0, 0), 0) + a.size
            continue
        for value, count in _counted(a, b, rows, columns):
            pair = divmod(value, columns)
            pairs[pair] = pairs.get(pair, 0) + count
    return JointCounts(pairs)


def _counted(a: Labels, b: Labels, rows: int, columns: int) -> list[tuple[int, int]]:
    """Index `a * columns + b` of each pair of values that occurs, with its count."""
    if rows * columns <= 2**16:
        small = np.uint8 if rows * columns <= 2**8 else np.uint16
        codes: Labels = a.astype(small)
        codes *= small(columns)
        codes += b.astype(small)
        counts = np.bincount(codes)
        return [(int(code), int(counts[code])) for code in np.flatnonzero(counts)]
    wide, found = np.unique(a.astype(np.int64) * columns + b, return_counts=True)
    return list(zip(wide.tolist(), found.tolist(), strict=True))
