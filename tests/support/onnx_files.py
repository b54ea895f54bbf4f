"""Small ONNX networks, made on the spot."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper


def sign_network(
    path, shape=("n", 1, "d", "h", "w"), *, out_channels=2, dtype=TensorProto.FLOAT, metadata=None, name="x"
):
    """Channels -x and +x (or +x alone): with argmax, every voxel above zero is label 1."""
    out = (shape[0], out_channels, *shape[2:])
    channels = [helper.make_node("Neg", [name], ["m"]), helper.make_node("Concat", ["m", name], ["y"], axis=1)]
    if out_channels == 1:
        channels = [helper.make_node("Identity", [name], ["y"])]
    return save(path, channels, {name: (dtype, shape)}, {"y": (dtype, out)}, metadata)


def save(path, nodes, inputs, outputs, metadata=None, initializers=()):
    def values(items):
        return [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in items.items()]

    graph = helper.make_graph(nodes, "g", values(inputs), values(outputs), list(initializers))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, metadata or {})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def position_network(path, shape):
    """Label 1 where x exceeds the first voxel of its own window: shows what window a voxel was in."""
    starts = np.zeros(len(shape) - 2, np.int64)
    nodes = [
        helper.make_node("Slice", ["x", "starts", "ends", "axes"], ["first"]),
        helper.make_node("Sub", ["x", "first"], ["p"]),
        helper.make_node("Neg", ["p"], ["m"]),
        helper.make_node("Concat", ["m", "p"], ["y"], axis=1),
    ]
    constants = {"starts": starts, "ends": starts + 1, "axes": np.arange(2, len(shape))}
    initializers = [onnx.numpy_helper.from_array(value.astype(np.int64), key) for key, value in constants.items()]
    out = (shape[0], 2, *shape[2:])
    return save(
        path, nodes, {"x": (TensorProto.FLOAT, shape)}, {"y": (TensorProto.FLOAT, out)}, None, initializers
    )
