"""The last convolution of a network of many classes, of one tap, as a product of matrices, in OpenVINO.

Convolutions have channels last in memory, and the output of a network has them first: OpenVINO transposes the
image, which takes several times as long as the convolution itself where there are 16 channels or more. A product
of the weights and the image, transposed, is written with channels first at once.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np

from itk_infer.model.runtimes.openvino_folded import fold_constants

MANY = 16  # channels of the output: a transposition of fewer takes less, and a product more memory


def multiply_last(model: Any) -> None:
    """Replace the last convolution of an `openvino.Model` of fixed sizes where that is faster, in place."""
    fold_constants(model)
    for result in model.get_results():
        value, bias = result.input_value(0), None
        if len(value.get_target_inputs()) > 1:
            continue
        if value.get_node().get_type_name() == "Add":
            value, bias = value.get_node().input_values()
        node = value.get_node()
        if not _is_pointwise(node) or not (bias is None or _is_bias(bias, node)):
            continue
        if int(node.get_output_shape(0)[1]) >= MANY:
            result.input(0).replace_source_output(_product(node, bias, list(value.get_shape())))


def _is_pointwise(node: Any) -> bool:
    """Whether it is a convolution of one tap and constant weights, of one image."""
    if node.get_type_name() != "Convolution" or node.get_input_size() != 2:
        return False
    weights, about, image = node.input_value(1).get_node(), node.get_attributes(), node.get_input_partial_shape(0)
    return (
        weights.get_type_name() == "Constant"
        and image.is_static
        and len(image) in (4, 5)
        and int(image[0].get_length()) == 1
        and math.prod(weights.get_output_shape(0)[2:]) == 1
        and set(about["strides"]) == {1}
        and not any((*about["pads_begin"], *about["pads_end"]))
        and len(node.output(0).get_target_inputs()) == 1
    )


def _is_bias(value: Any, node: Any) -> bool:
    """Whether it is a number per channel of the output."""
    shape, channels = [int(side) for side in value.get_shape()], int(node.get_output_shape(0)[1])
    return len(shape) == len(node.get_output_shape(0)) and math.prod(shape) == shape[1] == channels


def _product(node: Any, bias: Any, shape: list[int]) -> Any:
    """The same output, (1, C, ...)."""
    op = importlib.import_module("openvino.opset13")
    image, weights = node.input_value(0), node.input_value(1).get_node().data
    outputs, channels, rank = weights.shape[0], weights.shape[1], len(shape)
    last = op.transpose(image, np.array([0, *range(2, rank), 1]))
    voxels = op.reshape(last, np.array([math.prod(shape[2:]), channels]), False)
    product = op.matmul(op.constant(weights.reshape(outputs, channels)), voxels, False, True)
    if bias is not None:
        product = op.add(product, op.reshape(bias, np.array([outputs, 1]), False))
    return op.reshape(product, np.array(shape), False).output(0)
