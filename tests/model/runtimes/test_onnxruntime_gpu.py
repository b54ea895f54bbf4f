"""ONNX networks on a GPU; what can be tried without one is tried with tensors on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import SimpleITK as sitk
from support.onnx_files import position_network, sign_network

import itk_infer
from itk_infer.errors import InferenceError, ModelError
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.model.runtimes.onnxruntime import open_session
from itk_infer.model.runtimes.onnxruntime_gpu import Gpu, OnnxTensorNetwork, half_model, torch_stream
from itk_infer.predictor import Predictor
from itk_infer.spec import parse_spec

torch = pytest.importorskip("torch", reason="torch is not installed")
DEMO = Path(itk_infer.__file__).parent / "demo"
FLOAT32 = np.dtype(np.float32)


def cpu_session(path):
    return open_session(onnxruntime, path, ["CPUExecutionProvider"], 1)


def on_cuda():
    return torch.cuda.is_available() and "CUDAExecutionProvider" in onnxruntime.get_available_providers()


needs_gpu = pytest.mark.skipif(not on_cuda(), reason="there is no CUDA device for torch and onnxruntime")


@pytest.mark.parametrize("shape", [("n", 1, "d", "h", "w"), (2, 1, 4, 5, 6)])
def test_tensors_in_and_tensors_out(tmp_path, shape):
    network = OnnxTensorNetwork(onnxruntime, cpu_session(sign_network(tmp_path / "m.onnx", shape)), FLOAT32, None)
    windows = np.random.default_rng(0).normal(size=(2, 1, 4, 5, 6)).astype(np.float32)
    answer = network(torch.from_numpy(windows))
    assert isinstance(answer, torch.Tensor)
    np.testing.assert_array_equal(answer.numpy(), np.concatenate([-windows, windows], axis=1))
    turned = torch.from_numpy(windows).transpose(3, 4)  # not contiguous
    if shape[0] == "n":
        np.testing.assert_array_equal(network(turned)[:, 1:].numpy(), turned.numpy())
    np.testing.assert_array_equal(network(windows), answer.numpy())  # arrays as before


def test_answers_survive_the_next_call(tmp_path):
    network = OnnxTensorNetwork(onnxruntime, cpu_session(sign_network(tmp_path / "m.onnx")), FLOAT32, None)
    first = network(torch.ones(1, 1, 2, 2, 2))
    network(torch.zeros(1, 1, 2, 2, 2))
    assert (first[:, 1] == 1).all()


def test_a_network_in_half_precision_takes_and_gives_it(tmp_path):
    from onnx import TensorProto

    path = sign_network(tmp_path / "m.onnx", dtype=TensorProto.FLOAT16)
    network = OnnxTensorNetwork(onnxruntime, cpu_session(path), np.dtype(np.float16), None)
    answer = network(torch.full((1, 1, 2, 2, 2), 0.1))
    assert answer.dtype == torch.float16
    assert answer[0, 1, 0, 0, 0].item() == np.float16(0.1)


def test_channels_that_the_file_does_not_tell_are_counted(tmp_path):
    path = sign_network(tmp_path / "m.onnx", ("n", 1, "d", "h", "w"), out_channels="c")
    network = OnnxTensorNetwork(onnxruntime, cpu_session(path), FLOAT32, None)
    assert network(torch.ones(2, 1, 2, 3, 4)).shape == (2, 2, 2, 3, 4)


def test_a_failing_network_says_so(tmp_path):
    path = sign_network(tmp_path / "m.onnx", (1, 1, 4, 5, 6))
    network = OnnxTensorNetwork(onnxruntime, cpu_session(path), FLOAT32, None)
    with pytest.raises(InferenceError, match=r"failed on \(1, 1, 4, 5, 7\)"):
        network(torch.zeros(1, 1, 4, 5, 7))


def test_a_whole_case_with_windows_as_tensors(tmp_path):
    """Labels depend on the window a voxel was in, so a window in the wrong memory shows."""
    path = position_network(tmp_path / "m.onnx", ("n", 1, "d", "h", "w"))
    network = OnnxTensorNetwork(onnxruntime, cpu_session(path), FLOAT32, None)
    spec = parse_spec({"window": {"patch_size": [4, 4, 4], "patch_stride": [3, 2, 4]}}, "t")
    scan = sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(9, 10, 11)).astype(np.float32))
    there = Predictor(FakeBackend(network, spec, tensor_device="cpu"), batch=3)(scan)
    host = Predictor(FakeBackend(network, spec))(scan)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(there.labels), sitk.GetArrayFromImage(host.labels))


def test_a_model_converted_to_half_precision_says_the_same():
    path = DEMO / "hippocampus_unet.onnx"
    session = open_session(onnxruntime, half_model(path), ["CPUExecutionProvider"], 2)
    assert session.get_inputs()[0].type == session.get_outputs()[0].type == "tensor(float)"
    windows = np.random.default_rng(0).normal(size=(1, 1, 40, 56, 40)).astype(np.float32)
    name = session.get_inputs()[0].name
    (half,) = session.run(None, {name: windows})
    (full,) = cpu_session(path).run(None, {name: windows})
    assert np.mean(half.argmax(1) == full.argmax(1)) > 0.9995
    assert 0 < np.abs(half - full).max() < 0.1  # it is half precision, and it is the same network


def test_a_file_that_cannot_be_converted_is_an_error(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError, match=r"m\.onnx: cannot be converted to fp16"):
        half_model(tmp_path / "m.onnx")


class Stream:
    cuda_stream = 4711


class Runtime:
    """Opens CPU sessions that claim to run where they were asked to, and keeps what it was asked for."""

    SessionOptions = onnxruntime.SessionOptions
    GraphOptimizationLevel = onnxruntime.GraphOptimizationLevel

    def __init__(self, offered):
        self.offered, self.asked = offered, []

    def get_available_providers(self):
        return self.offered

    def InferenceSession(self, path, options, providers):
        self.asked = providers

        class Session:
            def get_providers(self):
                return [name for name, _ in providers]

            def disable_fallback(self):
                pass

        return Session()


def test_how_a_gpu_is_asked_for(tmp_path):
    runtime = Runtime(["CUDAExecutionProvider", "TensorrtExecutionProvider"])
    assert Gpu("cuda", 2, max_bytes=10**9, stream=Stream()).open(runtime, tmp_path / "m.onnx", 1) is not None
    ((name, settings),) = runtime.asked
    assert name == "CUDAExecutionProvider"
    assert settings == {
        "device_id": "2",
        "user_compute_stream": "4711",
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": "0",
        "arena_extend_strategy": "kSameAsRequested",
        "gpu_mem_limit": "500000000",  # the other half is torch's
    }
    Gpu("tensorrt", 0, cache=tmp_path / "cache").open(runtime, tmp_path / "m.onnx", 1, half=True)
    (first, settings), (second, _) = runtime.asked
    assert (first, second) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    assert settings["trt_fp16_enable"] == "True"
    assert settings["trt_engine_cache_path"] == settings["trt_timing_cache_path"] == str(tmp_path / "cache")
    assert "user_compute_stream" not in settings
    assert Gpu("tensorrt", 0).open(Runtime(["CUDAExecutionProvider"]), tmp_path / "m.onnx", 1) is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_there_is_no_stream():
    assert torch_stream(0) is None


@needs_gpu
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_demo_on_a_gpu(provider, precision):
    if provider == "tensorrt" and "TensorrtExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime has no TensorRT here")
    scan = DEMO / "mni152_hippocampus_left.nii.gz"
    expected = Predictor.from_onnx(DEMO / "hippocampus_unet.onnx", device="cpu")(scan)
    there = Predictor.from_onnx(
        DEMO / "hippocampus_unet.onnx", device="cuda:0", provider=provider, precision=precision, batch=4
    )
    assert there.backend.tensor_device == "cuda:0"
    labels, host = (sitk.GetArrayFromImage(result.labels) for result in (there(scan), expected))
    assert np.mean(labels == host) > (0.9999 if precision == "fp32" else 0.999)
