"""Images with several voxels in one, in OpenVINO, made and taken apart without a copy.

OpenVINO keeps the channels of pictures and volumes last in memory. An image (N, C, ..., X) is then the same memory
as (N, count · C, ..., X / count). In a model, that is a transposition, another shape, and the transposition back.
OpenVINO recognises that nothing is to be done, if the second is for a single convolution, and if the first does
not follow a convolution that adds its result to another image. Otherwise it copies.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

# Voxels in one, per axis: several along the last axis only, or as many along each.
Blocks = tuple[int, ...]


def separated(image: Any, blocks: Blocks) -> Any:
    """(N, count · C, ..., X) to (N, C, ..., count · X); the voxels of one are its slowest index of channels."""
    if blocks[0] > 1:
        return _operations().depth_to_space(image, "blocks_first", blocks[0]).output(0)
    batch, channels, *sides = (int(side) for side in image.get_shape())
    return _with_channels_last(image, [batch, *sides[:-1], sides[-1] * blocks[-1], channels // blocks[-1]])


def joined(image: Any, blocks: Blocks) -> Any:
    """(N, C, ..., X) to (N, count · C, ..., X / count), the inverse; None if it would be copied."""
    if blocks[0] > 1:
        return None
    batch, channels, *sides = (int(side) for side in image.get_shape())
    return _with_channels_last(image, [batch, *sides[:-1], sides[-1] // blocks[-1], channels * blocks[-1]])


def _with_channels_last(image: Any, shape: Sequence[int]) -> Any:
    op, rank = _operations(), len(shape)
    last, second = [0, *range(2, rank), 1], [0, rank - 1, *range(1, rank - 1)]
    flat = op.reshape(op.transpose(image, np.array(last)), np.array(shape), False)
    return op.transpose(flat, np.array(second)).output(0)


def keep_sum_apart(image: Any, voxel_by_voxel: Collection[str]) -> None:
    """Let OpenVINO compute a sum of two images, from which `image` is made, by itself, not within a convolution.

    An activation that changes nothing, which the convolution computes for nothing, keeps the sum out of it.

    Args:
        image: The image, an output.
        voxel_by_voxel: Operations between the sum and the image.
    """
    size = math.prod(image.get_shape())
    while (node := image.get_node()).get_type_name() in voxel_by_voxel:
        images = [value for value in node.input_values() if math.prod(value.get_shape()) == size]
        if len(images) != 1:  # none: the image is made of a smaller one
            break
        image = images[0]
    if node.get_type_name() != "Add":
        return
    for place, value in zip(node.inputs(), node.input_values(), strict=True):
        if value.get_node().get_type_name() not in ("PRelu", "Transpose", "Constant", "Parameter"):
            slopes = _operations().constant(np.ones(int(value.get_shape()[1]), np.float32))
            place.replace_source_output(_operations().prelu(value, slopes).output(0))


def _operations() -> Any:
    return importlib.import_module("openvino.opset13")
