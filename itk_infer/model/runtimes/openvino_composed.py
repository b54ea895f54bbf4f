"""A transposed convolution and the convolution after it as one, in OpenVINO.

Decoders of U-Nets enlarge an image by a transposed convolution. Where it has no bias, as in MONAI's DynUNet, it
and the convolution that follows are one linear operation: a transposed convolution of the same stride, whose
kernel is longer by that of the convolution less one. Of 2 x 2 x 2 and 3 x 3 x 3 taps, it has 4 x 4 x 4, of which
8 make a voxel of the output, instead of 27 and one. The enlarged image itself is not needed.
"""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def compose(model: Any) -> None:
    """Replace pairs of an `openvino.Model` of fixed sizes by one operation where it multiplies less, in place."""
    for node in model.get_ordered_ops():
        if multiplies_less(node):
            node.output(0).replace(_composed(node.input_value(0).get_node(), node))


def multiplies_less(node: Any) -> bool:
    """Whether it is a convolution that is to be one with the transposed convolution before it."""
    if not _is_plain(node, "Convolution") or set(node.get_attributes()["strides"]) != {1}:
        return False
    before = node.input_value(0).get_node()
    if not _is_plain(before, "ConvolutionBackpropData") or len(before.output(0).get_target_inputs()) > 1:
        return False
    about, enlarging = node.get_attributes(), before.get_attributes()
    # Of an enlarged image that is cropped, the convolution would see what was cut off.
    if any((*enlarging["pads_begin"], *enlarging["pads_end"], *enlarging["output_padding"])):
        return False
    (given, made, *first), (_, _, *second) = (
        [int(side) for side in each.get_input_shape(1)] for each in (before, node)
    )
    if any(pad >= side for pad, side in zip((*about["pads_begin"], *about["pads_end"]), second * 2, strict=True)):
        return False
    longer = [side + other - 1 for side, other in zip(first, second, strict=True)]

    def taps(kernel: Sequence[int]) -> int:
        """Of a transposed convolution, for a voxel of its output."""
        return math.prod(
            math.ceil(side / stride) for side, stride in zip(kernel, enlarging["strides"], strict=True)
        )

    return given * taps(longer) < given * taps(first) + made * math.prod(second)


def _is_plain(node: Any, kind: str) -> bool:
    """Whether it is such a convolution of three axes and constant weights, with padding that is written out."""
    if node.get_type_name() != kind or node.get_input_size() != 2:
        return False
    weights, about = node.input_value(1).get_node(), node.get_attributes()
    return (
        weights.get_type_name() == "Constant"
        and len(weights.get_output_shape(0)) == 5
        and about["auto_pad"] == "explicit"
        and set(about["dilations"]) == {1}
    )


def _composed(before: Any, node: Any) -> Any:
    """The transposed convolution, as a convolution that makes all voxels of a voxel: an output.

    Voxel o of the enlarged axis is number t of voxel q, where o + pad = stride · q + t. All those of q depend on
    the same voxels of the input, the last of which is q.
    """
    op = importlib.import_module("openvino.opset13")
    first, second = (each.input_value(1).get_node().data for each in (before, node))
    strides, about = before.get_attributes()["strides"], node.get_attributes()
    batch, channels, *made = (int(side) for side in node.get_output_shape(0))
    given = [int(side) for side in before.get_input_shape(0)[2:]]
    weights = _weights(first, second)
    pads = [side - 1 - pad for side, pad in zip(second.shape[2:], about["pads_begin"], strict=True)]
    axes = list(zip(made, strides, pads, strict=True))
    begin = [pad // stride for _, stride, pad in axes]
    end = [(side - 1 + pad) // stride for side, stride, pad in axes]
    by_number = _by_number(weights, strides)
    taps = by_number.shape[2:]
    voxels = op.convolution(
        before.input_value(0),
        op.constant(by_number),
        [1, 1, 1],
        [count - 1 - at for count, at in zip(taps, begin, strict=True)],
        [at + 1 - side for side, at in zip(given, end, strict=True)],
        [1, 1, 1],
    )
    # Channels last, as they are in memory; numbers along X are neighbours already.
    z, y, x = sides = [last + 1 - at for at, last in zip(begin, end, strict=True)]
    last = op.transpose(voxels, np.array([0, 2, 3, 4, 1]))
    apart = op.reshape(last, np.array([batch * z, y, x, *strides[:2], strides[2] * channels]), False)
    beside = op.transpose(apart, np.array([0, 3, 1, 4, 2, 5]))
    enlarged = [side * stride for side, stride in zip(sides, strides, strict=True)]
    image = op.reshape(beside, np.array([batch, *enlarged, channels]), False)
    cut = [pad - stride * at for (_, stride, pad), at in zip(axes, begin, strict=True)]
    if enlarged != made:
        ends = [at + side for at, side in zip(cut, made, strict=True)]
        image = op.slice(image, *map(np.array, (cut, ends, [1, 1, 1], [1, 2, 3])))
    return op.transpose(image, np.array([0, 4, 1, 2, 3])).output(0)


def _by_number(weights: Any, strides: Sequence[int]) -> Any:
    """Weights (numbers · output, input, ...) of a convolution, from (input, output, ...) of a transposed one.

    Each axis of n · stride taps, filled up with zeros, becomes n taps, the last one first, of `stride` numbers.
    """
    counts = [-(-side // stride) for side, stride in zip(weights.shape[2:], strides, strict=True)]
    more = [
        (0, count * stride - side) for count, stride, side in zip(counts, strides, weights.shape[2:], strict=True)
    ]
    full = np.pad(weights, [(0, 0), (0, 0), *more])
    (a, b, c), (z, y, x) = counts, strides
    parts = full.reshape(*weights.shape[:2], a, z, b, y, c, x)[:, :, ::-1, :, ::-1, :, ::-1]
    inputs, outputs = weights.shape[:2]
    return np.ascontiguousarray(parts.transpose(3, 5, 7, 1, 0, 2, 4, 6)).reshape(
        z * y * x * outputs, inputs, a, b, c
    )


def _weights(first: Any, second: Any) -> Any:
    """Weights (input, output, ...) of the composition.

    Args:
        first: Weights (input, middle, ...) of the transposed convolution.
        second: Weights (output, middle, ...) of the convolution.
    """
    sides, others = first.shape[2:], second.shape[2:]
    longer = [side + other - 1 for side, other in zip(sides, others, strict=True)]
    total: Any = np.zeros((first.shape[0], second.shape[0], *longer))
    for place in itertools.product(*map(range, others)):
        taps = np.einsum("imzyx,om->iozyx", first, second[(..., *place)].astype(np.float64))
        # What a tap reads one voxel further on, it adds one voxel before.
        begins = [other - 1 - at for other, at in zip(others, place, strict=True)]
        where = tuple(slice(begin, begin + side) for begin, side in zip(begins, sides, strict=True))
        total[(..., *where)] += taps
    return total.astype(np.float32)
