from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")


def test_convolutions_cost_two_operations_a_multiply_add(tmp_path):
    from contenders.flops import convolution_flops
    from contenders.peak import CHANNELS, convolutions

    convolutions(tmp_path / "two.onnx", 2)
    # Each of 32 output channels sums 27 neighbours of 32 input channels, with padding at every voxel; twice.
    assert convolution_flops(tmp_path / "two.onnx", (8, 10, 12)) == 2 * 2 * 8 * 10 * 12 * CHANNELS * CHANNELS * 27


def test_strided_and_transposed_convolutions(tmp_path):
    from contenders.flops import convolution_flops
    from onnx import TensorProto, helper, numpy_helper

    down = numpy_helper.from_array(np.zeros((5, 3, 3, 3, 3), np.float32), "down")
    up = numpy_helper.from_array(np.zeros((5, 7, 2, 2, 2), np.float32), "up")
    nodes = [
        helper.make_node("Conv", ["x", "down"], ["h"], pads=[1] * 6, strides=[2] * 3),
        helper.make_node("ConvTranspose", ["h", "up"], ["y"], strides=[2] * 3),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 3, 8, 8, 8))
    taken = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "net", [given], [taken], [down, up])
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    # 4^3 places of the strided one, 5 channels of 27 * 3 products; from each of them to 8 * 7 values.
    assert convolution_flops(path, (8, 8, 8)) == 2 * 64 * 5 * 81 + 2 * 64 * 5 * 56
