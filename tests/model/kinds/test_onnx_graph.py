"""The structure of ONNX files, held against what the onnx package reads."""

from __future__ import annotations

from importlib import resources

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from itk_infer.model.kinds.onnx_graph import TYPES, ExternalData, OnnxGraph, read_graph
from itk_infer.model.kinds.onnx_location import is_onnx

FREE = ("n", 1, "d", "h", "w")


def external(name, location, **numbers):
    tensor = helper.make_tensor(name, TensorProto.FLOAT, (2,), b"\0" * 8, raw=True)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **numbers}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
    return tensor


def model_of(nodes, initializers=(), functions=()):
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, FREE) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], list(initializers))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=9)


def test_the_demo_is_read_as_the_onnx_package_reads_it():
    path = resources.files("itk_infer") / "demo" / "hippocampus_unet.onnx"
    expected = onnx.load(path).graph.node
    found = read_graph(path)
    assert [(n.operation, n.domain, n.inputs, n.outputs) for n in found.nodes] == [
        (n.op_type, n.domain, tuple(n.input), tuple(n.output)) for n in expected
    ]
    assert found.external == ()


@pytest.mark.parametrize("place", ["itk_infer/demo/hippocampus_unet.onnx", "unusual"])
def test_inputs_outputs_and_metadata_are_those_that_onnxruntime_finds(tmp_path, place):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    path = tmp_path / "m.onnx"
    if place == "unusual":  # a weight among the inputs, as in old files; a type of its own; axes without a name
        model = model_of(
            [
                helper.make_node("Add", ["x", "w"], ["y"]),
                helper.make_node("Cast", ["y"], ["z"], to=TensorProto.FLOAT16),
                helper.make_node("Shape", ["y"], ["s"]),
            ],
            [numpy_helper.from_array(np.zeros(1, np.float32), "w")],
        )
        model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, (1,)))
        model.graph.output.append(
            helper.make_tensor_value_info("z", TensorProto.FLOAT16, ("n", 1, None, "h", "w"))
        )
        model.graph.output.append(helper.make_tensor_value_info("s", TensorProto.INT64, (5,)))
        for value in (model.graph.input[0], model.graph.output[0]):
            value.type.tensor_type.shape.dim[2].Clear()
        helper.set_model_props(model, {"itk_infer": '{"spec": 1}', "größe": ""})
        path.write_bytes(model.SerializeToString())
    else:
        path = resources.files("itk_infer") / "demo" / "hippocampus_unet.onnx"

    found = read_graph(path)

    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for ours, theirs in ((found.inputs, session.get_inputs()), (found.outputs, session.get_outputs())):
        assert [one.name for one in ours] == [one.name for one in theirs]
        floats = [one.type if one.type in TYPES.values() else "" for one in theirs]
        assert [one.type for one in ours] == floats
        assert [list(one.shape) for one in ours] == [one.shape for one in theirs]
    assert found.metadata == session.get_modelmeta().custom_metadata_map


def test_weights_of_subgraphs_functions_and_constants_are_found(tmp_path):
    inside = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=external("c", "deep/constant"))], "i", [], []
    )
    inside.initializer.append(external("b", "branch", offset=64, length=8))
    function = helper.make_function(
        "mine",
        "Scaled",
        ["a"],
        ["b"],
        [
            helper.make_node("Constant", [], ["f"], value=external("f", "function")),
            helper.make_node("Mul", ["a", "f"], ["b"]),
        ],
        [helper.make_opsetid("", 17)],
    )
    nodes = [
        helper.make_node("Scaled", ["x"], ["s"], domain="mine"),
        helper.make_node("Transpose", ["s"], ["t"], perm=[0, 4, 1, 2, 3]),
        helper.make_node("If", ["condition"], ["i"], then_branch=inside, else_branch=inside),
        helper.make_node("Add", ["t", "i"], ["y"]),
    ]
    inline = numpy_helper.from_array(np.array(True), "condition")
    model = model_of(nodes, [inline, external("w", "weights/net.bin")], [function])
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())

    found = read_graph(path)

    assert found.external == tuple(
        ExternalData(*item)
        for item in [("branch", 72), ("deep/constant", 0), ("function", 0), ("weights/net.bin", 0)]
    )
    assert found.nodes[1].perm == (0, 4, 1, 2, 3)
    assert [n.operation for n in found.functions["mine", "Scaled"].nodes] == ["Constant", "Mul"]
    assert found.functions["mine", "Scaled"].inputs == ("a",)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no model at all", id="text"),
        pytest.param(b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", id="length beyond the file"),
        pytest.param(b"\x3a\x02\x0a", id="cut"),
        pytest.param(b"\xff" * 40, id="endless number"),
        pytest.param(bytes(1000), id="zeros"),
    ],
)
def test_what_is_no_onnx_file_has_an_empty_graph(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    assert read_graph(tmp_path / "m.onnx") == OnnxGraph()


def test_a_large_file_of_another_kind_is_left_at_its_first_byte(tmp_path):
    """A gigabyte of zeros would be half a thousand million fields with the number 0, which protobuf does not have."""
    path = tmp_path / "m.json"
    with path.open("wb") as file:
        file.truncate(2**30)
    assert not is_onnx(path)
