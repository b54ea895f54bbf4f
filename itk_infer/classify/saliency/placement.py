"""Where a network's map lies in the picture, which is resized, padded or cut on its way to the network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from itk_infer.model.saliency.maps import resized
from itk_infer.spec.classify_spec import PictureInput

Box = tuple[float, float, float, float]  # top, left, bottom, right


def box_of(wanted: PictureInput, shape: tuple[int, int]) -> Box:
    """What the network sees of a picture, in the picture's pixels; it may reach beyond it.

    Args:
        wanted: The network's input.
        shape: Rows and columns of the picture.
    """
    size = wanted.size or shape
    scales = [size[0] / shape[0], size[1] / shape[1]]
    if wanted.size is None or wanted.resize.aspect == "crop":
        scales = [1.0, 1.0]
    elif wanted.resize.aspect != "stretch":
        scales = [(min if wanted.resize.aspect == "fit" else max)(scales)] * 2
    ends = []
    for side, seen, scale, crop in zip(shape, size, scales, wanted.center_crop or size, strict=True):
        have = max(1, round(side * scale))
        start = _start(have, seen) + _start(seen, crop)
        ends.append((start * side / have, (start + crop) * side / have))
    (top, bottom), (left, right) = ends
    return top, left, bottom, right


def _start(have: int, wanted: int) -> int:
    """Where the middle part of a side begins; negative where it is padded."""
    return (have - wanted) // 2 if have >= wanted else -((wanted - have) // 2)


def placed(
    values: NDArray[np.floating], box: Box, shape: tuple[int, int], canvas: tuple[int, int]
) -> NDArray[np.float32]:
    """A map on a canvas over the whole picture, zero where the network saw nothing.

    Args:
        values: (h, w), over `box`.
        box: In pixels of the picture.
        shape: Rows and columns of the picture.
        canvas: Those of the canvas.
    """
    scale = canvas[0] / shape[0], canvas[1] / shape[1]
    top, left, bottom, right = (round(side * scale[index % 2]) for index, side in enumerate(box))
    map_ = resized(values, (max(1, bottom - top), max(1, right - left)))
    whole = np.zeros(canvas, np.float32)
    target = whole[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    target[...] = map_[max(0, -top) :, max(0, -left) :][: target.shape[0], : target.shape[1]]
    return whole
