"""The ONNX backend: every shape of network, every source of its spec, every way to be unusable."""

from __future__ import annotations

import importlib.machinery
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support.onnx_files import save, sign_network

from itk_infer.errors import ConfigError, InferenceError, ModelError, SpecError
from itk_infer.model.backend import NetworkShape
from itk_infer.model.kinds import onnx as module
from itk_infer.model.kinds.onnx import OnnxBackend
from itk_infer.model.runtimes import onnxruntime as runtimes
from itk_infer.model.spec_sources import SpecSources
from itk_infer.model.window import fit_window
from itk_infer.options import Options
from itk_infer.spec.intensity import MinMax, WindowLevel, ZScore

WINDOW = {"window_level": "40", "window_width": "80"}
SPEC = {"spec": 1, "name": "sign", "input": {"intensity": [{"op": "minmax"}]}}


def backend(path, **overrides):
    return OnnxBackend(path, device="cpu", provider="cpu", sources=SpecSources(overrides=Options(**overrides)))


def windows(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_dynamic_3d(tmp_path, count, dtype):
    network = backend(sign_network(tmp_path / "m.onnx", dtype=dtype, metadata=WINDOW, name="any name"))
    x = windows(count, 1, 4, 5, 6)
    y = network.forward(x)
    assert network.shape == NetworkShape(1, 2, (None, None, None))
    np.testing.assert_allclose(y, np.concatenate([-x, x], axis=1), atol=2e-3)


def test_fixed_sizes_are_known(tmp_path):
    network = backend(sign_network(tmp_path / "m.onnx", (2, 1, 8, 9, 10), metadata=WINDOW))
    assert network.shape == NetworkShape(1, 2, (8, 9, 10), 2)
    assert fit_window(network.spec, network.shape).patch == (8, 9, 10)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_fixed_batch_gets_a_padded_last_batch(tmp_path, count):
    network = backend(sign_network(tmp_path / "m.onnx", (2, 1, 3, 4, 5), metadata=WINDOW))
    x = windows(count, 1, 3, 4, 5)
    np.testing.assert_array_equal(network.forward(x), np.concatenate([-x, x], axis=1))


def test_a_2d_network_takes_slices(tmp_path):
    network = backend(sign_network(tmp_path / "m.onnx", ("n", 1, "h", "w"), metadata=WINDOW))
    assert network.shape.size == (1, None, None)
    x = windows(3, 1, 1, 5, 6)
    np.testing.assert_array_equal(network.forward(x), np.concatenate([-x, x], axis=1))
    with pytest.raises(ConfigError, match="2D network"):
        fit_window(backend(tmp_path / "m.onnx", patch_size=(4, 8, 8)).spec, network.shape)


def test_embedded_spec(tmp_path):
    path = sign_network(tmp_path / "m.onnx", metadata={"itk_infer": json.dumps(SPEC)})
    assert backend(path).spec.name == "sign"
    assert backend(path).spec.input.intensity == (MinMax(),)


def test_precedence_of_sources(tmp_path):
    embedded = {**SPEC, "name": "embedded", "version": "1", "licence": "A", "window": {"blend": "constant"}}
    path = sign_network(tmp_path / "m.onnx", metadata={**WINDOW, "itk_infer": json.dumps(embedded)})
    (tmp_path / "m.spec.json").write_text(json.dumps({"spec": 1, "name": "sidecar", "version": "2"}))
    (tmp_path / "mine.json").write_text(
        json.dumps({"spec": 1, "name": "mine", "window": {"patch_size": [4, 4, 4]}})
    )
    spec = OnnxBackend(path, device="cpu", sources=SpecSources(Options(spec=tmp_path / "mine.json"))).spec
    assert (spec.name, spec.version, spec.licence) == ("mine", "2", "A")
    assert spec.window.patch_size == (4, 4, 4)
    assert spec.window.blend == "constant"  # blocks merge key by key
    assert spec.input.intensity == (MinMax(),)  # the embedded spec is above the older window keys


def test_older_keys(tmp_path):
    older = {"patch_size": [8, 8, 8], "patch_stride": [4, 4, 4], "forward_batch_windows": 3, "argmax_batchsize": 4}
    metadata = {"window_level": "40.5", "window_width": "80", "inference_config": json.dumps(older)}
    network = backend(sign_network(tmp_path / "m.onnx", metadata=metadata))
    assert network.spec.input.intensity == (WindowLevel(40.5, 80.0),)
    assert network.spec.window.patch_size == (8, 8, 8)
    assert network.spec.window.patch_stride == (4, 4, 4)
    assert network.shape.batch_hint == 3
    assert any("argmax_batchsize" in note for note in network.notes)


@pytest.mark.parametrize(
    ("metadata", "error", "words"),
    [
        ({}, ConfigError, "requires `window_level`/`window_width`.*metadata window_level.*`spec`"),
        ({"window_level": "40"}, SpecError, "only one of window level and width"),
        ({"window_level": "a", "window_width": "80"}, SpecError, "must be numbers"),
        ({"inference_config": "{"}, SpecError, "not valid JSON"),
        ({"inference_config": "[]"}, SpecError, "JSON object"),
        ({"itk_infer": '{"spec": 1, "windw": {}}'}, SpecError, "m.onnx.*unknown key windw; did you mean window"),
        ({"itk_infer": "3"}, SpecError, "JSON object"),
    ],
)
def test_metadata_that_cannot_be_used(tmp_path, metadata, error, words):
    with pytest.raises(error, match=words):
        backend(sign_network(tmp_path / "m.onnx", metadata=metadata))


def test_command_line_window(tmp_path):
    path = sign_network(tmp_path / "m.onnx", metadata=WINDOW)
    assert backend(path, window_level=0.0).spec.input.intensity == (WindowLevel(0.0, 80.0),)  # 0 is a value
    bare = sign_network(tmp_path / "bare.onnx")
    assert backend(bare, window_level=0.0, window_width=1.0).spec.input.intensity == (WindowLevel(0.0, 1.0),)
    with pytest.raises(ConfigError, match="belong together"):
        backend(bare, window_level=0.0)
    with pytest.raises(ConfigError, match="above 0"):
        backend(path, window_width=0.0)


def test_a_window_that_replaces_other_steps_says_so(tmp_path):
    spec = {"spec": 1, "input": {"intensity": [{"op": "zscore"}]}}
    path = sign_network(tmp_path / "m.onnx", metadata={"itk_infer": json.dumps(spec)})
    assert backend(path).spec.input.intensity == (ZScore(),)
    network = backend(path, window_level=1.0, window_width=2.0)
    assert network.spec.input.intensity == (WindowLevel(1.0, 2.0),)
    assert any("replaces: zscore" in note for note in network.notes)


def test_patch_and_stride_are_checked_against_each_other_and_the_network(tmp_path):
    older = json.dumps({"patch_size": [96, 96, 96], "patch_stride": [72, 72, 72]})
    path = sign_network(tmp_path / "m.onnx", metadata={**WINDOW, "inference_config": older})
    alone = backend(path, patch_size=(64, 64, 64))
    assert fit_window(alone.spec, alone.shape).stride == (32, 32, 32)  # the model's 72 would leave gaps
    for overrides, words in (
        ({"patch_size": (8, 8, 8), "patch_stride": (9, 8, 8)}, "larger than the patch"),
        ({"patch_stride": (97, 8, 8)}, "larger than the patch"),
    ):
        network = backend(path, **overrides)
        with pytest.raises(ConfigError, match=words):
            fit_window(network.spec, network.shape)
    fixed = backend(sign_network(tmp_path / "f.onnx", (1, 1, 8, 8, 8), metadata=WINDOW), patch_size=(8, 8, 16))
    with pytest.raises(ConfigError, match="along X this network takes only 8"):
        fit_window(fixed.spec, fixed.shape)
    whole = backend(sign_network(tmp_path / "w.onnx", metadata=WINDOW), patch_stride=(8, 8, 8))
    with pytest.raises(ConfigError, match="give a patch size as well"):
        fit_window(whole.spec, whole.shape)


def test_channels_are_checked(tmp_path):
    network = backend(sign_network(tmp_path / "m.onnx", ("n", 2, "d", "h", "w"), out_channels=4, metadata=WINDOW))
    with pytest.raises(SpecError, match="takes 2 input channels, the model spec names 1"):
        fit_window(network.spec, network.shape)
    one = backend(sign_network(tmp_path / "o.onnx", out_channels=1, metadata=WINDOW))
    with pytest.raises(SpecError, match="threshold"):
        fit_window(one.spec, one.shape)


def test_unusable_files(tmp_path):
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ModelError, match=r"text\.onnx"):
        backend(tmp_path / "text.onnx")
    with pytest.raises(ModelError, match="no such file"):
        backend(tmp_path / "absent.onnx")
    with pytest.raises(ModelError, match="is a folder; give an ONNX model"):
        backend(tmp_path)
    with pytest.raises(ModelError, match="NCZYX"):
        backend(sign_network(tmp_path / "flat.onnx", ("n", 1, "w"), metadata=WINDOW))
    add = [helper.make_node("Add", ["a", "b"], ["y"])]
    shape = (TensorProto.FLOAT, ("n", 1, "d", "h", "w"))
    with pytest.raises(ModelError, match="2 inputs"):
        backend(save(tmp_path / "two.onnx", add, {"a": shape, "b": shape}, {"y": shape}, WINDOW))
    whole = (TensorProto.INT32, ("n", 1, "d", "h", "w"))
    with pytest.raises(ModelError, match="floating-point"):
        backend(
            save(
                tmp_path / "int.onnx", [helper.make_node("Neg", ["x"], ["y"])], {"x": whole}, {"y": whole}, WINDOW
            )
        )


@pytest.mark.parametrize("location", ["../secret", "link"])
def test_weights_outside_the_models_folder_are_refused(tmp_path, location):
    (tmp_path / "secret").write_bytes(b"\0" * 64)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "link").symlink_to(tmp_path / "secret")
    tensor = helper.make_tensor("w", TensorProto.FLOAT, (1,), b"\0" * 4, raw=True)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    shape = (TensorProto.FLOAT, ("n", 1, "d", "h", "w"))
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", *shape)],
        [helper.make_tensor_value_info("y", *shape)],
        [tensor],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, WINDOW)
    path = tmp_path / "models" / "m.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="m.onnx"):
        backend(path)


def test_a_missing_gpu_is_an_error_or_a_sentence(tmp_path):
    path = sign_network(tmp_path / "m.onnx", metadata=WINDOW)
    offered = __import__("onnxruntime").get_available_providers()
    automatic = OnnxBackend(path)
    if automatic.device != "cpu":
        pytest.skip("this machine has a GPU")
    assert any(note.startswith("device: cpu") for note in automatic.notes)
    with pytest.raises(ModelError, match="`device=cuda`"):
        OnnxBackend(path, device="cuda")
    assert "CPUExecutionProvider" in offered


def test_a_gpu_build_that_falls_back_silently_is_caught(tmp_path, monkeypatch):
    """onnxruntime-gpu lists CUDA without a GPU and then runs on the CPU; so does this stand-in."""
    import onnxruntime

    class Liar:
        SessionOptions = onnxruntime.SessionOptions
        GraphOptimizationLevel = onnxruntime.GraphOptimizationLevel

        @staticmethod
        def get_available_providers():
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

        @staticmethod
        def InferenceSession(path, options, providers):
            return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(module, "import_runtime", lambda: Liar)
    path = sign_network(tmp_path / "m.onnx", metadata=WINDOW)
    with pytest.raises(ModelError, match="no usable CUDA device"):
        OnnxBackend(path, device="cuda:0")
    assert "onnxruntime found no usable CUDA device" in OnnxBackend(path).notes[0]


def test_two_runtimes_at_once_are_detected(monkeypatch, tmp_path):
    place = tmp_path / "site-packages"
    for name in ("onnxruntime", "onnxruntime-1.31.1.dist-info", "onnxruntime_gpu-1.30.0.dist-info"):
        (place / name).mkdir(parents=True)
    found = importlib.machinery.ModuleSpec("onnxruntime", None, is_package=True)
    found.submodule_search_locations = [str(place / "onnxruntime")]
    monkeypatch.setattr(runtimes.importlib.util, "find_spec", lambda name: found)
    with pytest.raises(
        ModelError, match="pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
    ):
        backend(sign_network(tmp_path / "m.onnx", metadata=WINDOW))


def test_a_network_that_fails_says_so_in_a_sentence(tmp_path):
    network = backend(sign_network(tmp_path / "m.onnx", (1, 1, 8, 8, 8), metadata=WINDOW))
    with pytest.raises(InferenceError, match="the network failed"):
        network.forward(windows(1, 1, 4, 4, 4))


@pytest.mark.parametrize("provider", ["auto", "cpu"])
def test_sizes_inside_a_network_that_its_input_does_not_tell_are_named(tmp_path, provider):
    """Dimensions called free, and a Reshape to fixed ones inside."""
    shape = onnx.numpy_helper.from_array(np.array([1, 2, 8, 8, 8]), "shape")
    nodes = [
        helper.make_node("Concat", ["x", "x"], ["two"], axis=1),
        helper.make_node("Reshape", ["two", "shape"], ["y"]),
    ]
    free = ("n", 1, "d", "h", "w")
    types = {"x": (TensorProto.FLOAT, free)}, {"y": (TensorProto.FLOAT, ("n", 2, *free[2:]))}
    network = OnnxBackend(
        save(tmp_path / "m.onnx", nodes, *types, WINDOW, [shape]), device="cpu", provider=provider
    )
    assert network.forward(windows(1, 1, 8, 8, 8)).shape == (1, 2, 8, 8, 8)
    with pytest.raises(InferenceError, match="; if the network was made for one size, give that as patch size$"):
        network.forward(windows(1, 1, 4, 4, 4))


def test_a_file_from_a_newer_onnx_says_what_to_update(tmp_path):
    path = sign_network(tmp_path / "m.onnx", metadata=WINDOW)
    model = onnx.load(path)
    model.ir_version = 99
    path.write_bytes(model.SerializeToString())
    with pytest.raises(
        ModelError, match=r"IR version: 99.*; update onnxruntime, or export .* older opset$"
    ) as caught:
        backend(path)
    assert "::" not in str(caught.value)


def test_the_digest_changes_with_the_file(tmp_path):
    one = backend(sign_network(tmp_path / "m.onnx", metadata=WINDOW)).digest
    two = backend(sign_network(tmp_path / "m.onnx", metadata={**WINDOW, "window_level": "41"})).digest
    assert one != two


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_the_cpu_path_imports_neither_torch_nor_mmengine(tmp_path, device):
    import onnxruntime

    if device == "auto" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime could use a GPU")
    path = sign_network(tmp_path / "m.onnx", metadata=WINDOW)
    program = (
        "import sys, itk_infer, SimpleITK as sitk\n"
        f"predictor = itk_infer.Predictor.from_onnx({str(path)!r}, device={device!r})\n"
        "result = predictor(sitk.Image([4, 5, 6], sitk.sitkInt16))\n"
        "assert result.labels.GetSize() == (4, 5, 6)\n"
        "heavy = {'torch', 'mmengine', 'mmseg', 'mmcv', 'monai', 'zarr', 'openpyxl'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(tmp_path))
    assert done.returncode == 0, done.stderr
