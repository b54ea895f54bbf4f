"""Networks that OpenVINO cannot run, and onnxruntime can."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from onnx import TensorProto, helper, numpy_helper
from support.onnx_files import save, sign_network

from itk_infer.errors import InferenceError, ModelError, OutOfMemoryError
from itk_infer.model.kinds.onnx import OnnxBackend
from itk_infer.model.runtimes import openvino as module
from itk_infer.model.runtimes.fallback import WithFallback
from itk_infer.predictor import Predictor

METADATA = {"itk_infer": json.dumps({"spec": 1, "input": {"orientation": None}})}
FREE = ("n", 1, "d", "h", "w")
needs_openvino = pytest.mark.skipif(not module.openvino_installed(), reason="needs the openvino extra")


class Recorder:
    """A network that doubles, and fails on the shapes it is told to fail on."""

    def __init__(self, fails=(), error=InferenceError):
        self.fails, self.error, self.seen = fails, error, []

    def __call__(self, windows):
        self.seen.append(windows.shape)
        if windows.shape in self.fails:
            raise self.error(f"no {windows.shape}")
        return windows * 2


A, B = (1, 1, 2, 2, 2), (2, 1, 2, 2, 2)


def run(first, second, shapes):
    told, opened = [], []
    network = WithFallback(first, lambda: opened.append(second) or second, lambda *what: told.append(what))
    for shape in shapes:
        np.testing.assert_array_equal(network(np.ones(shape, np.float32)), np.full(shape, 2, np.float32))
    return told, len(opened)


def test_a_network_that_never_ran_is_given_up():
    first, second = Recorder([A]), Recorder()
    assert run(first, second, [A, A, B]) == ([(f"no {A}", A, False)], 1)
    assert (first.seen, second.seen) == ([A], [A, A, B])


def test_a_network_that_ran_keeps_the_shapes_it_can_run():
    first, second = Recorder([B]), Recorder()
    assert run(first, second, [A, B, B, A]) == ([(f"no {B}", B, True)], 1)
    assert (first.seen, second.seen) == ([A, B, A], [B, B])


def test_where_neither_can_the_first_ones_reason_stands():
    network = WithFallback(Recorder([A]), lambda: Recorder([A]), lambda *what: pytest.fail("there is no fallback"))
    with pytest.raises(InferenceError, match="no "):
        network(np.ones(A))
    network(np.ones(B))


def test_memory_that_runs_out_is_no_reason_to_fall_back():
    network = WithFallback(Recorder([A], OutOfMemoryError), lambda: pytest.fail("opened"), lambda *what: None)
    with pytest.raises(OutOfMemoryError):
        network(np.ones(A))


def by_a_vendor(path):
    """The logits times the inverse of a 1 x 1 matrix, by an operation of onnxruntime's own."""
    one = numpy_helper.from_array(np.full((1, 1), 0.5, np.float32), "half")
    nodes = [
        helper.make_node("Neg", ["x"], ["m"]),
        helper.make_node("Concat", ["m", "x"], ["both"], axis=1),
        helper.make_node("Inverse", ["half"], ["two"], domain="com.microsoft"),
        helper.make_node("Mul", ["both", "two"], ["y"]),
    ]
    values = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ("n", c, *FREE[2:])) for n, c in (("x", 1), ("y", 2))
    ]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [one])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    helper.set_model_props(model, METADATA)
    path.write_bytes(model.SerializeToString())
    return path


@needs_openvino
def test_what_openvino_cannot_read_onnxruntime_runs(tmp_path):
    backend = OnnxBackend(by_a_vendor(tmp_path / "m.onnx"), device="cpu")
    x = np.random.default_rng(0).normal(size=(2, 1, 3, 4, 5)).astype(np.float32)
    np.testing.assert_allclose(backend.forward(x), np.concatenate([-2 * x, 2 * x], axis=1), rtol=1e-6)
    assert backend.provider == "cpu"
    assert [note for note in backend.notes if "com.microsoft.Inverse); onnxruntime runs it instead" in note]


@needs_openvino
def test_openvino_by_name_is_refused_and_not_replaced(tmp_path):
    with pytest.raises(ModelError, match=r"`provider=openvino`: OpenVINO cannot read .*leave `provider` out"):
        OnnxBackend(by_a_vendor(tmp_path / "m.onnx"), device="cpu", provider="openvino")


@needs_openvino
def test_a_network_in_another_number_format_is_not_openvinos(tmp_path):
    path = sign_network(tmp_path / "m.onnx", dtype=TensorProto.FLOAT16, metadata=METADATA)
    backend = OnnxBackend(path, device="cpu")
    assert backend.provider == "cpu"
    assert "the network takes tensor(float16); onnxruntime runs it instead of OpenVINO" in backend.notes
    with pytest.raises(ModelError, match=r"`provider=openvino`: .*takes tensor\(float16\).*leave `provider` out"):
        OnnxBackend(path, device="cpu", provider="openvino")


@needs_openvino
@pytest.mark.parametrize("error", [RuntimeError, TypeError, Exception])
def test_what_openvino_cannot_compile_onnxruntime_runs(tmp_path, monkeypatch, error):
    def refuse(*_):
        raise error("Exception from here\nno primitive\n")

    monkeypatch.setattr(module.OpenVinoNetwork, "_compile", refuse)
    path = sign_network(tmp_path / "m.onnx", metadata=METADATA)
    values = np.random.default_rng(1).normal(size=(4, 5, 6)).astype(np.float32)

    predictor = Predictor.from_onnx(path, device="cpu", orientation="input")
    assert predictor.backend.provider == "openvino"
    found = predictor(sitk.GetImageFromArray(values))

    np.testing.assert_array_equal(sitk.GetArrayFromImage(found.labels), values > 0)
    assert predictor.backend.provider == "cpu"
    said = [warning for warning in found.measurements.warnings if "onnxruntime runs it in fp32 instead" in warning]
    assert len(said) == 1
    assert "no primitive" in said[0]
    assert predictor(sitk.GetImageFromArray(values)).measurements.warnings == ()  # said once

    by_name = OnnxBackend(path, device="cpu", provider="openvino")
    with pytest.raises(
        InferenceError, match="no primitive; leave `provider=openvino` out, and onnxruntime may run it"
    ):
        by_name.forward(values[None, None])


@needs_openvino
def test_a_broken_installation_of_openvino_is_named(tmp_path, monkeypatch):
    def broken():
        raise ImportError("libopenvino.so: cannot open shared object file")

    monkeypatch.setattr(module, "import_openvino", broken)
    path = sign_network(tmp_path / "m.onnx", metadata=METADATA)
    backend = OnnxBackend(path, device="cpu", precision="half")
    assert (backend.provider, backend.precision) == ("cpu", "fp32")
    assert any("cannot open shared object file); onnxruntime runs it instead" in note for note in backend.notes)
    with pytest.raises(ModelError, match="cannot open shared object file"):
        OnnxBackend(path, device="cpu", provider="openvino")


@needs_openvino
def test_weights_behind_links_run_with_onnxruntime(tmp_path):
    """As download caches lay out their files: names that link to files called by their hash, elsewhere."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "named").mkdir()
    weights = numpy_helper.from_array(np.full((2, 1, 1, 1, 1), 3, np.float32), "w")
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[1, 1, 1])]
    types = {"x": (TensorProto.FLOAT, FREE)}, {"y": (TensorProto.FLOAT, ("n", 2, *FREE[2:]))}
    import onnx

    model = onnx.load(save(tmp_path / "m.onnx", nodes, *types, METADATA, [weights]))
    onnx.save(model, tmp_path / "e.onnx", save_as_external_data=True, location="e.data", size_threshold=0)
    for name in ("e.onnx", "e.data"):
        (tmp_path / name).rename(tmp_path / "blobs" / f"hash of {name}")
        (tmp_path / "named" / name).symlink_to(f"../blobs/hash of {name}")
    backend = OnnxBackend(tmp_path / "named" / "e.onnx", device="cpu")
    x = np.random.default_rng(2).normal(size=(1, 1, 2, 3, 4)).astype(np.float32)
    np.testing.assert_allclose(backend.forward(x), np.concatenate([3 * x, 3 * x], axis=1), rtol=1e-6)
