"""Arithmetic of a network in an ONNX file: its convolutions, two operations a multiply-add."""

from __future__ import annotations

import math
from pathlib import Path


def convolution_flops(path: Path, spatial: tuple[int, int, int]) -> int:
    """Operations of all convolutions and transposed convolutions for one window.

    Normalisation, activation and additions are left out, as is usual: under 1 % of such networks.

    Args:
        path: A network whose first axis is the batch, NCZYX.
        spatial: Size of the window, Z Y X.
    """
    import onnx

    model = onnx.load(path)
    dims = model.graph.input[0].type.tensor_type.shape.dim
    for dim, size in zip(dims, (1, dims[1].dim_value, *spatial), strict=True):
        dim.dim_value = size
    del model.graph.value_info[:]  # both were for the old size
    model.graph.output[0].type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    weights = {item.name: tuple(item.dims) for item in inferred.initializer}
    shapes = {
        item.name: tuple(dim.dim_value for dim in item.type.tensor_type.shape.dim)
        for item in (*inferred.value_info, *inferred.input, *inferred.output)
    }
    total = 0
    for node in inferred.node:
        if node.op_type == "Conv":
            # (out, in / groups, *kernel): every output voxel is a sum over all but the first axis.
            total += 2 * math.prod(shapes[node.output[0]]) * math.prod(weights[node.input[1]][1:])
        elif node.op_type == "ConvTranspose":
            # (in, out / groups, *kernel): every input voxel goes to all but the first axis.
            total += 2 * math.prod(shapes[node.input[0]]) * math.prod(weights[node.input[1]][1:])
    return total
