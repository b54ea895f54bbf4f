"""Connected components of one label in mask and ground truth, matched one to one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.evaluate.scores import LesionCounts

MATCHED_IOU = 0.1  # smallest IoU of two components that count as the same lesion


def lesion_counts(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> LesionCounts:
    """Match the 26-connected components of two masks of the same shape (Z, Y, X).

    Pairs are matched in descending order of IoU; pairs below `MATCHED_IOU` are not matched.
    """
    ours, our_count = _components(mask)
    theirs, their_count = _components(truth)
    our_sizes = np.bincount(ours.ravel(), minlength=our_count + 1)
    their_sizes = np.bincount(theirs.ravel(), minlength=their_count + 1)
    both = (ours > 0) & (theirs > 0)
    codes, common = np.unique(ours[both].astype(np.int64) * (their_count + 1) + theirs[both], return_counts=True)
    our_index, their_index = np.divmod(codes, their_count + 1)
    iou = common / (our_sizes[our_index] + their_sizes[their_index] - common)
    used: tuple[set[int], set[int]] = (set(), set())
    for place in np.argsort(-iou, kind="stable"):
        one, other = int(our_index[place]), int(their_index[place])
        if iou[place] >= MATCHED_IOU and one not in used[0] and other not in used[1]:
            used[0].add(one)
            used[1].add(other)
    return LesionCounts(their_count, our_count, len(used[0]))


def _components(mask: NDArray[np.bool_]) -> tuple[NDArray[np.signedinteger[Any]], int]:
    from scipy import ndimage

    labels, count = ndimage.label(mask, np.ones((3, 3, 3)))
    return labels, int(count)
