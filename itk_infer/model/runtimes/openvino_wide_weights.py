"""Convolutions that make images with several voxels in one, or take them, and their weights.

Axes of weights are (output channels, input channels, ...), of transposed convolutions the first two the other way
round. Voxel `count` · j + r of an axis is number r of the voxels in one of voxel j.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from itk_infer.model.runtimes.openvino_views import Blocks


def wide_convolution(node: Any, blocks: Blocks) -> Any:
    """The convolution, or transposed convolution, that makes all voxels in one at once."""
    if node.get_type_name() == "Convolution":
        return _longer(node, blocks[-1])
    return _of_all_axes(node, blocks[0]) if blocks[0] > 1 else _of_the_last_axis(node, blocks[-1])


def _longer(node: Any, count: int) -> Any:
    about, image, weights = _parts(node)
    stride, kernel = about["strides"][-1], weights.shape[-1]
    longer = np.zeros((count, *weights.shape[:-1], kernel + (count - 1) * stride), np.float32)
    for number in range(count):
        longer[number, ..., number * stride : number * stride + kernel] = weights
    made = int(node.get_output_shape(0)[-1])
    # Voxels that the stride leaves over stay left over.
    end = max(0, (made - 1) * stride + kernel - about["pads_begin"][-1] - int(image.get_shape()[-1]))
    return convolution(
        image,
        longer.reshape(-1, *longer.shape[2:]),
        [*about["strides"][:-1], stride * count],
        about["pads_begin"],
        [*about["pads_end"][:-1], end],
    )


def strided_convolution(node: Any, count: int) -> Any:
    """A convolution that takes `count` voxels in one along the last axis; its stride is a multiple of that."""
    about, image, weights = _parts(node)
    begin, kernel, stride = about["pads_begin"][-1], weights.shape[-1], about["strides"][-1] // count
    least, most = -begin // count, (kernel - 1 - begin) // count
    taps = np.zeros((weights.shape[0], count, *weights.shape[1:-1], most - least + 1), np.float32)
    for place in range(kernel):
        voxel, number = divmod(place - begin, count)
        taps[:, number, ..., voxel - least] = weights[..., place]
    made = int(node.get_output_shape(0)[-1])
    end = max(0, (made - 1) * stride + most + 1 - int(image.get_shape()[-1]))
    return convolution(
        image,
        taps.reshape(taps.shape[0], -1, *taps.shape[3:]),
        [*about["strides"][:-1], stride],
        [*about["pads_begin"][:-1], -least],
        [*about["pads_end"][:-1], end],
    )


def _of_the_last_axis(node: Any, count: int) -> Any:
    """A transposed convolution that makes the `count` voxels per voxel of the last axis, its stride there."""
    about, image, weights = _parts(node)
    kernel, begin = weights.shape[-1], about["pads_begin"][-1]
    least, most = _reach(kernel, begin, count)
    taps = np.zeros((weights.shape[0], count, *weights.shape[1:-1], most - least + 1), np.float32)
    for number, shift, place in _taps(kernel, begin, count):
        taps[:, number, ..., most - shift] = weights[..., place]
    return _operations().convolution_backprop_data(
        image,
        _operations().constant(taps.reshape(taps.shape[0], -1, *taps.shape[3:])),
        strides=[*about["strides"][:-1], 1],
        pads_begin=[*about["pads_begin"][:-1], most],
        pads_end=[*about["pads_end"][:-1], -least],
        output_padding=[*about["output_padding"][:-1], 0],
        dilations=about["dilations"],
    )


def _of_all_axes(node: Any, count: int) -> Any:
    """A convolution that makes the `count` voxels per axis and voxel of a transposed convolution."""
    about, image, weights = _parts(node)
    axes = list(zip(weights.shape[2:], about["pads_begin"], strict=True))
    reach = [_reach(kernel, begin, count) for kernel, begin in axes]
    kernel = [most - least + 1 for least, most in reach]
    taps = np.zeros((*(count for _ in axes), *weights.shape[1::-1], *kernel), np.float32)
    every = (slice(None), slice(None))
    for found in itertools.product(*(list(_taps(size, begin, count)) for size, begin in axes)):
        numbers, shifts, places = zip(*found, strict=True)
        at = tuple(shift - least for shift, (least, _) in zip(shifts, reach, strict=True))
        taps[(*numbers, *every, *at)] = weights[(*every, *places)].T
    begins, ends = [-least for least, _ in reach], [most for _, most in reach]
    return convolution(image, taps.reshape(-1, weights.shape[0], *kernel), [1] * len(axes), begins, ends)


def _reach(kernel: int, begin: int, count: int) -> tuple[int, int]:
    """First and last voxel of the input, counted from j, on which the output's voxels of j depend."""
    return -((kernel - 1 - begin) // count), (count - 1 + begin) // count


def _taps(kernel: int, begin: int, count: int) -> Iterator[tuple[int, int, int]]:
    """Of an axis: number of the voxel in one, voxel of the input counted from j, and its weight's place."""
    least, most = _reach(kernel, begin, count)
    for number, shift in itertools.product(range(count), range(least, most + 1)):
        if 0 <= number + begin - count * shift < kernel:
            yield number, shift, number + begin - count * shift


def summed_parts(node: Any, images: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """A convolution of images that are side by side: the convolutions of each, and the sums after them."""
    op, (about, _, weights) = _operations(), _parts(node)
    axis, at = int(node.get_type_name() == "Convolution"), 0
    made: list[Any] = []
    sums: list[Any] = []
    del about["auto_pad"]
    for image in images:
        channels = int(image.get_shape()[1])
        part = np.ascontiguousarray(weights.take(range(at, at + channels), axis))
        at += channels
        if axis:
            made.append(convolution(image, part, about["strides"], about["pads_begin"], about["pads_end"]))
        else:
            made.append(op.convolution_backprop_data(image, op.constant(part), **about))
        if len(made) > 1:
            sums.append(op.add(sums[-1] if sums else made[0], made[-1]))
    return made, sums


def mean_of_voxels(values: Any, count: int) -> Any:
    """(N, count · C, ..., 1) to (N, C, ..., 1), the mean over the voxels in one."""
    _, channels, *sides = (int(side) for side in values.get_shape())
    weights = np.tile(np.eye(channels // count, dtype=np.float32), count) / np.float32(count)
    none = [0] * len(sides)
    return convolution(values, weights.reshape(*weights.shape, *(1 for _ in sides)), [1] * len(sides), none, none)


def convolution(image: Any, weights: Any, strides: Sequence[int], begin: Sequence[int], end: Sequence[int]) -> Any:
    """A convolution without dilation."""
    op = _operations()
    return op.convolution(image, op.constant(weights), [*strides], [*begin], [*end], [1] * len(strides))


def _parts(node: Any) -> tuple[dict[str, Any], Any, Any]:
    """Attributes, input and weights."""
    return dict(node.get_attributes()), node.input_value(0), node.input_value(1).get_node().data


def _operations() -> Any:
    return importlib.import_module("openvino.opset13")
