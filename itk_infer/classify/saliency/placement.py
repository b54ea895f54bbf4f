"""The position of a network's map in a picture that was resized, padded or cropped for the network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from itk_infer.model.saliency.maps import resized
from itk_infer.spec.classify_spec import PictureInput

Box = tuple[float, float, float, float]  # top, left, bottom, right


def box_of(wanted: PictureInput, shape: tuple[int, int]) -> Box:
    """The region of a picture that the network's input covers, in pixels of the picture; may exceed the picture.

    Args:
        wanted: Input spec of the network.
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
    """Start of the centred part of a side; negative if the side is padded."""
    return (have - wanted) // 2 if have >= wanted else -((wanted - have) // 2)


def placed(
    values: NDArray[np.floating], box: Box, shape: tuple[int, int], canvas: tuple[int, int]
) -> NDArray[np.float32]:
    """Resample a map to a grid over the whole picture, zero outside the network's input.

    Args:
        values: The map (h, w), covering `box`.
        box: In pixels of the picture.
        shape: Rows and columns of the picture.
        canvas: Rows and columns of the grid.
    """
    scale = canvas[0] / shape[0], canvas[1] / shape[1]
    top, left, bottom, right = (round(side * scale[index % 2]) for index, side in enumerate(box))
    map_ = resized(values, (max(1, bottom - top), max(1, right - left)))
    whole = np.zeros(canvas, np.float32)
    target = whole[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    target[...] = map_[max(0, -top) :, max(0, -left) :][: target.shape[0], : target.shape[1]]
    return whole
