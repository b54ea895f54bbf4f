"""What an ONNX network's answer is, by the operations it ends in; and what is made of that."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from onnx import TensorProto, helper, numpy_helper
from support.onnx_files import save

from itk_infer.errors import ModelError
from itk_infer.model.kinds.onnx import OnnxBackend
from itk_infer.model.kinds.onnx_end import graph_end
from itk_infer.model.kinds.onnx_graph import Function, Node, OnnxGraph
from itk_infer.predictor import Predictor

FREE = ("n", 1, "d", "h", "w")
AXES = numpy_helper.from_array(np.array([1]), "axes")


def network(path, ending, *, channels=2, given_channels="c", kind=TensorProto.FLOAT, output=None):
    """Channels -x and +x (or +x alone), then `ending`, from "logits" to "y"."""
    first = [helper.make_node("Neg", ["x"], ["m"]), helper.make_node("Concat", ["m", "x"], ["logits"], axis=1)]
    if channels == 1:
        first = [helper.make_node("Neg", ["x"], ["m"]), helper.make_node("Neg", ["m"], ["logits"])]
    document = {"spec": 1, **({"output": output} if output else {})}
    axes = [AXES] if any("axes" in node.input for node in ending) else []
    flat = any(name in str(ending) for name in ("keepdims", "Squeeze"))
    given = ("n", "a", "b", "c") if flat else ("n", given_channels, *FREE[2:])
    return save(
        path,
        [*first, *ending],
        {"x": (TensorProto.FLOAT, FREE)},
        {"y": (kind, given)},
        {"itk_infer": json.dumps(document)},
        axes,
    )


def chain(*steps):
    """Nodes one behind the other, from "logits" to "y"; a step is an operation with its attributes."""
    names = ["logits", *(f"t{index}" for index in range(1, len(steps))), "y"]
    made = []
    for (operation, more), before, after in zip(steps, names, names[1:]):
        inputs = [before, "axes"] if operation == "Squeeze" else [before]
        made.append(helper.make_node(operation, inputs, [after], **more))
    return made


ARGMAX = ("ArgMax", {"axis": 1})
TO_FLOAT = ("Cast", {"to": TensorProto.FLOAT})


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        pytest.param(chain(ARGMAX), TensorProto.INT64, id="argmax"),
        pytest.param(
            chain(("ArgMax", {"axis": 1, "keepdims": 0})), TensorProto.INT64, id="argmax without the axis"
        ),
        pytest.param(chain(ARGMAX, TO_FLOAT), None, id="argmax as float"),
        pytest.param(chain(ARGMAX, ("Cast", {"to": TensorProto.UINT8})), TensorProto.UINT8, id="argmax as bytes"),
        pytest.param(chain(ARGMAX, ("Squeeze", {}), ("Identity", {}), TO_FLOAT), None, id="argmax, squeezed"),
    ],
)
@pytest.mark.parametrize("decision", ["argmax", "threshold"])
@pytest.mark.parametrize("provider", ["auto", "cpu"])
def test_class_numbers_are_refused_whatever_the_spec_says(tmp_path, ending, kind, decision, provider):
    path = network(
        tmp_path / "m.onnx", ending, kind=kind or TensorProto.FLOAT, channels=2, output={"decision": decision}
    )
    with pytest.raises(ModelError, match=r"m\.onnx: .*ArgMax: class numbers.*export it without that step"):
        OnnxBackend(path, device="cpu", provider=provider)


def test_the_places_of_the_largest_are_class_numbers_and_their_values_are_not():
    top = (Node("TopK", "", ("logits", "k"), ("values", "indices")),)
    assert graph_end(OnnxGraph(top), "indices").class_numbers
    assert not graph_end(OnnxGraph(top), "values").class_numbers


def test_whole_numbers_in_one_channel_are_class_numbers(tmp_path):
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.INT32)]
    types = {"x": (TensorProto.FLOAT, FREE)}, {"y": (TensorProto.INT32, FREE)}
    path = save(tmp_path / "m.onnx", nodes, *types, {"itk_infer": json.dumps({"spec": 1})})
    with pytest.raises(ModelError, match=r"one output channel of tensor\(int32\): class numbers"):
        OnnxBackend(path, device="cpu", provider="cpu")


def test_whole_numbers_in_a_channel_per_class_are_logits(tmp_path):
    """As quantised networks answer."""
    path = network(tmp_path / "m.onnx", chain(("Cast", {"to": TensorProto.INT32})), kind=TensorProto.INT32)
    values = np.random.default_rng(0).integers(-50, 50, (6, 7, 8)).astype(np.int16)
    found = Predictor.from_onnx(path, device="cpu", provider="cpu", orientation="input")(
        sitk.GetImageFromArray(values)
    )
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found.labels), values > 0)


def test_a_softmax_over_one_channel_is_refused(tmp_path):
    path = network(tmp_path / "m.onnx", chain(("Softmax", {"axis": 1})), channels=1, given_channels=1)
    with pytest.raises(ModelError, match="Softmax over one channel, which is 1 in every voxel"):
        OnnxBackend(path, device="cpu", provider="cpu")


BACK = [("Transpose", {"perm": [0, 2, 3, 4, 1]}), ("Transpose", {"perm": [0, 4, 1, 2, 3]})]


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param(chain(("Sigmoid", {})), id="sigmoid"),
        pytest.param(chain(("Sigmoid", {}), ("Identity", {}), *BACK), id="sigmoid, handed on"),
        pytest.param(chain(("HardSigmoid", {})), id="hard sigmoid"),
    ],
)
@pytest.mark.parametrize("threshold", [0.5, 0.85])
@pytest.mark.parametrize(
    "stated", [{}, {"values": "logits"}, {"values": "probabilities"}], ids=["", "logits", "probabilities"]
)
def test_a_sigmoid_inside_gives_the_mask_of_its_probabilities(tmp_path, ending, threshold, stated):
    output = {"decision": "threshold", "threshold": threshold, **stated}
    path = network(tmp_path / "m.onnx", ending, channels=1, output=output)
    values = np.random.default_rng(1).choice([-6, -2, -1, 1, 2, 3, 6], (6, 7, 8)).astype(np.float32)
    if ending[0].op_type == "Sigmoid":
        probabilities = 1 / (1 + np.exp(-values.astype(np.float64)))
    else:
        probabilities = np.clip(0.2 * values.astype(np.float64) + 0.5, 0, 1)  # alpha and beta of the standard

    predictor = Predictor.from_onnx(path, device="cpu", provider="cpu", orientation="input")
    found = predictor(sitk.GetImageFromArray(values))

    np.testing.assert_array_equal(sitk.GetArrayFromImage(found.labels), probabilities > threshold)
    said = [note for note in predictor.backend.notes if "taken as probabilities" in note]
    assert len(said) == (stated != {"values": "probabilities"})
    assert all(("not as logits as the model spec says" in note) == bool(stated) for note in said)
    assert found.measurements.warnings == ()


def test_a_mask_inside_is_a_mask_at_any_threshold(tmp_path):
    zero = numpy_helper.from_array(np.float32(0), "zero")
    nodes = [helper.make_node("Greater", ["x", "zero"], ["b"]), helper.make_node("Cast", ["b"], ["y"], to=1)]
    document = {"spec": 1, "output": {"decision": "threshold", "threshold": 0.9}}
    types = {"x": (TensorProto.FLOAT, FREE)}, {"y": (TensorProto.FLOAT, FREE)}
    path = save(tmp_path / "m.onnx", nodes, *types, {"itk_infer": json.dumps(document)}, [zero])
    values = np.random.default_rng(2).normal(size=(6, 7, 8)).astype(np.float32)
    found = Predictor.from_onnx(path, device="cpu", provider="cpu", orientation="input")(
        sitk.GetImageFromArray(values)
    )
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found.labels), values > 0)


@pytest.mark.parametrize(
    ("ending", "values", "words"),
    [
        pytest.param([("Softmax", {"axis": 1})], "probabilities", ["ends in Softmax"], id="softmax"),
        pytest.param([("Softmax", {"axis": 1}), ("Clip", {})], "probabilities", ["ends in Softmax"], id="clipped"),
        pytest.param(
            [("Sigmoid", {})],
            "probabilities",
            ["ends in Sigmoid", "set output.decision to threshold"],
            id="sigmoid",
        ),
        pytest.param([("LogSoftmax", {"axis": 1})], "logits", [], id="log-softmax"),
        pytest.param([("Relu", {})], "logits", [], id="relu"),
        pytest.param([("Clip", {})], "logits", [], id="clip alone"),
    ],
)
def test_what_the_spec_does_not_say_the_graph_does(tmp_path, ending, values, words):
    backend = OnnxBackend(network(tmp_path / "m.onnx", chain(*ending)), device="cpu", provider="cpu")
    assert backend.spec.output.values == values
    assert len(backend.notes) == len(words)
    assert all(word in note for word, note in zip(words, backend.notes))


def test_ends_are_seen_through_functions_and_concatenations():
    body = (Node("Sigmoid", "", ("a",), ("b",)), Node("Identity", "", ("b",), ("c",)))
    hand_on = (Node("Identity", "", ("a",), ("b",)),)
    functions = {
        ("f", "Activated"): Function(("a",), ("c",), body),
        ("f", "HandedOn"): Function(("a",), ("b",), hand_on),
    }
    nodes = (
        Node("Activated", "f", ("logits",), ("p",)),
        Node("HandedOn", "f", ("p",), ("q",)),
        Node("Sigmoid", "", ("other",), ("r",)),
        Node("Concat", "", ("q", "r"), ("both",)),
        Node("Concat", "", ("q", "logits"), ("mixed",)),
        Node("Identity", "", ("loop",), ("loop",)),
    )
    graph = OnnxGraph(nodes, functions=functions)
    assert graph_end(graph, "q").operation == "Sigmoid"
    assert graph_end(graph, "both").operation == "Sigmoid"
    assert graph_end(graph, "mixed").operation == ""
    assert graph_end(graph, "loop").operation == ""
