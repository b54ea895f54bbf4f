"""Instance and group normalisation in OpenVINO, with sums that are as exact as torch's.

After a convolution OpenVINO adds up a channel voxel by voxel in float32. In a window that is mostly air every
addition is rounded the same way, and the output of a U-Net is wrong by up to 0.6 % of its range instead of a
millionth. Here sums are taken along one axis after the other, by average pooling, which takes up to 7 % more time.
It takes memory and time of compiling, too: where voxels are few, OpenVINO's sums are exact enough.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from itk_infer.model.runtimes.openvino_folded import fold_constants

FEW = 1500  # voxels, of which OpenVINO's mean and variance are exact to 1e-5, also in air


def normalise_exactly(model: Any) -> None:
    """Replace normalisations over all spatial axes of an `openvino.Model` of fixed sizes, in place."""
    kinds: dict[str, Callable[[Any], Any]] = {"MVN": _instances, "GroupNormalization": _groups}
    found = [node for node in model.get_ordered_ops() if node.get_type_name() in kinds]
    if not found:
        return
    fold_constants(model)
    for node in found:
        shape = node.get_output_partial_shape(0)
        if not shape.is_static or len(shape) not in (4, 5):  # what can be pooled
            continue
        if math.prod(int(side) for side in node.get_output_shape(0)[2:]) > FEW:
            result = kinds[node.get_type_name()](node)
            if result is not None:
                node.output(0).replace(result)


def _instances(node: Any) -> Any:
    """Instance normalisation without scale and shift; None if other axes are normalised, as those of layers."""
    op = _operations()
    inputs, attributes = node.input_value(0), node.get_attributes()
    axes = node.input_value(1).get_node()
    rank = len(inputs.get_shape())
    if axes.get_type_name() != "Constant" or {int(axis) % rank for axis in axes.data.flat} != {*range(2, rank)}:
        return None
    if not attributes["normalize_variance"]:
        return None
    mean = _mean(inputs)
    epsilon = op.constant(np.float32(attributes["eps"]))
    variance = _mean(op.squared_difference(inputs, mean).output(0))
    if attributes["eps_mode"].lower() == "inside_sqrt":
        inverse = _power(op.add(variance, epsilon), -0.5)
    else:
        inverse = _power(op.add(op.sqrt(variance), epsilon), -1.0)
    return op.multiply(op.subtract(inputs, mean), inverse).output(0)


def _groups(node: Any) -> Any:
    """Group normalisation with scale and shift."""
    op = _operations()
    inputs, scale, shift = (node.input_value(number) for number in range(3))
    attributes = node.get_attributes()
    batch, channels, *sides = (int(side) for side in inputs.get_shape())
    groups, ones = int(attributes["num_groups"]), [1] * len(sides)
    in_groups = op.constant(np.array([batch, groups, channels // groups]))
    per_channel, of_all = (op.constant(np.array([count, channels, *ones])) for count in (batch, 1))
    repeated = op.constant(np.ones((1, 1, channels // groups), np.float32))

    def mean(values: Any) -> Any:
        """The mean of each group, once per channel: (N, C, 1, ...)."""
        of_group = op.reduce_mean(op.reshape(_mean(values), in_groups, False), np.array([2]), True)
        return op.reshape(op.multiply(of_group, repeated), per_channel, False)

    middle = mean(inputs)
    variance = mean(op.squared_difference(inputs, middle).output(0))
    inverse = _power(op.add(variance, op.constant(np.float32(attributes["epsilon"]))), -0.5)
    scale, shift = (op.reshape(values, of_all, False) for values in (scale, shift))
    normalised = op.multiply(op.subtract(inputs, middle), op.multiply(inverse, scale))
    return op.add(normalised, shift).output(0)


def _mean(values: Any) -> Any:
    """The mean over all spatial axes of an output (N, C, ...), one axis after the other: (N, C, 1, ...).

    By pooling: OpenVINO would merge reductions, and make of them the operation that is replaced here.
    """
    sides = [int(side) for side in values.get_shape()][2:]
    for axis, side in enumerate(sides):
        if side > 1:
            window = [side if other == axis else 1 for other in range(len(sides))]
            none = [0] * len(sides)
            values = _operations().avg_pool(values, [1] * len(sides), none, none, window, True).output(0)
    return values


def _power(values: Any, exponent: float) -> Any:
    return _operations().power(values, _operations().constant(np.float32(exponent)))


def _operations() -> Any:
    return importlib.import_module("openvino.opset13")
