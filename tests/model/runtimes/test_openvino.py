"""OpenVINO against onnxruntime and torch, in fp32 and bf16; and what happens where it cannot be used."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto
from support.classify_files import brightness_network
from support.loading import mmengine_backend
from support.onnx_files import sign_network

from itk_infer.errors import ConfigError, InferenceError, ModelError
from itk_infer.model.kinds.onnx import OnnxBackend
from itk_infer.model.runtimes import openvino as module
from itk_infer.model.runtimes.precision_check import relative_error

pytest.importorskip("openvino", reason="needs the openvino extra")
WINDOW = {"window_level": "40", "window_width": "80"}
DEMO = "demo/hippocampus_unet.onnx"
HAS_BF16 = "bf16" in module.reduced_precisions()


def demo():
    from importlib import resources

    return resources.files("itk_infer") / "demo" / "hippocampus_unet.onnx"


def windows(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_auto_takes_openvino_and_equals_onnxruntime():
    fast, plain = OnnxBackend(demo(), device="cpu"), OnnxBackend(demo(), device="cpu", provider="cpu")
    assert (fast.provider, plain.provider) == ("openvino", "cpu")
    for shape in ((1, 1, 24, 28, 20), (2, 1, 24, 28, 20), (1, 1, 12, 16, 20)):  # it is compiled anew for each
        assert relative_error(fast.forward(windows(*shape)), plain.forward(windows(*shape))) < 1e-4


@pytest.mark.skipif(not HAS_BF16, reason="this CPU has no bf16 instructions")
def test_bf16_is_near_fp32_and_has_a_full_twin():
    half, full = OnnxBackend(demo(), device="cpu", precision="half"), OnnxBackend(demo(), device="cpu")
    x = windows(1, 1, 24, 28, 20)
    reference = full.forward(x).copy()
    assert half.precision == "bf16"
    assert 1e-5 < relative_error(half.forward(x), reference) < 0.05  # it is not fp32 in disguise
    assert relative_error(half.in_full_precision().forward(x), reference) < 1e-5
    assert full.in_full_precision() is full


def test_a_shape_that_cannot_be_compiled_leaves_the_others_usable(tmp_path):
    """As of networks whose inner sizes are fixed."""
    read = module.onnx_reader(sign_network(tmp_path / "m.onnx"))

    def choosy(shape):
        if shape[2] > 3:
            raise RuntimeError("Cannot reshape")
        return read(shape)

    network = module.OpenVinoNetwork(choosy, "fp32", 1)
    x = windows(2, 1, 3, 4, 5)
    for _ in range(2):
        np.testing.assert_array_equal(network(x)[:, 1:], x)
        with pytest.raises(InferenceError, match="Cannot reshape"):
            network(windows(2, 1, 4, 4, 5))


def test_2d_fixed_batches_and_other_number_formats(tmp_path):
    flat = OnnxBackend(sign_network(tmp_path / "a.onnx", ("n", 1, "h", "w"), metadata=WINDOW), device="cpu")
    x = windows(3, 1, 1, 5, 6)
    np.testing.assert_array_equal(flat.forward(x), np.concatenate([-x, x], axis=1))
    fixed = OnnxBackend(sign_network(tmp_path / "b.onnx", (2, 1, 3, 4, 5), metadata=WINDOW), device="cpu")
    x = windows(3, 1, 3, 4, 5)
    np.testing.assert_array_equal(fixed.forward(x), np.concatenate([-x, x], axis=1))
    stored = sign_network(tmp_path / "c.onnx", dtype=TensorProto.FLOAT16, metadata=WINDOW)
    assert OnnxBackend(stored, device="cpu").provider == "cpu"
    assert OnnxBackend(stored, device="cpu").precision == "fp16"


def test_precisions_and_providers_that_are_not_to_be_had(monkeypatch):
    with pytest.raises(ConfigError, match="`precision=fp16`: cpu with openvino runs fp32"):
        OnnxBackend(demo(), device="cpu", precision="fp16")
    with pytest.raises(ModelError, match="runs on a GPU"):
        OnnxBackend(demo(), device="cpu", provider="cuda")
    plain = OnnxBackend(demo(), device="cpu", provider="cpu", precision="half")
    assert plain.precision == "fp32"
    assert any("no fast half precision" in note for note in plain.notes)
    monkeypatch.setattr(module, "openvino_installed", lambda: False)
    assert OnnxBackend(demo(), device="cpu").provider == "cpu"
    with pytest.raises(ModelError, match=r"pip install 'itk_infer\[openvino\]'"):
        OnnxBackend(demo(), provider="openvino")


@pytest.mark.parametrize("small", [0, 1 << 30])  # bytes: pictures are run four at a time, or one by one
@pytest.mark.parametrize("sides", [(8, 8), (-1, -1)])
@pytest.mark.parametrize(
    "rests", [0, 8]
)  # incomplete parts that are filled up, before the network is compiled for one
def test_any_number_of_pictures_is_classified_in_the_parts_it_is_compiled_for(
    tmp_path, monkeypatch, small, sides, rests
):
    path = brightness_network(tmp_path / "brightness.onnx")
    monkeypatch.setattr(module, "SMALL", small)
    monkeypatch.setattr(module, "RESTS", rests)
    network = module.OpenVinoCalls(
        module.onnx_reader(path), (-1, 1, *sides), "fp32", 2, 2, size=path.stat().st_size
    )
    pictures = np.random.default_rng(0).random((11, 1, 8, 8), np.float32)
    for count in (1, 3, 4, 5, 8, 11):
        expected = 10 * (pictures[:count].mean(axis=(1, 2, 3)) - 0.5)
        found = network(pictures[:count])
        assert len(found) == count
        np.testing.assert_allclose(found[:, 0], expected, atol=1e-5)
    for other in (
        pictures[::-1, :, ::-1],
        np.broadcast_to(pictures[3:4], pictures.shape),
    ):  # not contiguous, read only
        np.testing.assert_allclose(network(other)[:, 0], 10 * (other.mean(axis=(1, 2, 3)) - 0.5), atol=1e-5)
    parts = set(network._compiled)
    assert parts == ({-1} if sides == (-1, -1) else {1} if small else {4} if rests else {1, 4})


def test_no_picture_is_read_after_a_call_that_failed(tmp_path):
    """The memory of its pictures may then be used for others."""
    network = module.OpenVinoCalls(
        module.onnx_reader(brightness_network(tmp_path / "m.onnx")), (-1, 1, 8, 8), "fp32", 2, 2, size=1
    )
    pictures = np.zeros((5, 1, 8, 8), np.float32)
    network(pictures)
    waits = []

    class Request:
        def __init__(self, request):
            self.request = request

        def __getattr__(self, name):
            return getattr(self.request, name)

        def wait(self):
            self.request.wait()
            waits.append(self)
            raise RuntimeError("no")

    own = network._requests.own
    own[1] = [Request(request) for request in own[1]]
    with pytest.raises(InferenceError, match="OpenVINO failed on .5, 1, 8, 8.: no"):
        network(pictures)
    assert waits == [own[1][0], *own[1]]


def test_a_file_is_read_once_for_networks_that_are_built_together(tmp_path):
    path = sign_network(tmp_path / "m.onnx")
    read = module.onnx_reader(path, 2)
    x, sizes = windows(1, 1, 3, 4, 5), ((1, 1, 3, 4, 5), (1, 1, 6, 4, 5))
    models = [read(sizes[0])]
    path.rename(tmp_path / "moved.onnx")
    models.append(read(sizes[1]))
    assert [tuple(model.input(0).shape) for model in models] == list(sizes)
    network = module.OpenVinoNetwork(lambda _: models[0], "fp32", 1)
    np.testing.assert_array_equal(network(x)[:, 1:], x)
    with pytest.raises(RuntimeError):  # the third one is read again
        read(sizes[0])


def test_whoever_shares_the_process_still_has_the_converter(tmp_path):
    """It takes most of the time of the import, and is not used here."""
    path = brightness_network(tmp_path / "brightness.onnx")
    program = (
        "import sys\n"
        "from itk_infer.model.runtimes.openvino import import_openvino\n"
        "openvino = import_openvino()\n"
        "assert 'openvino.tools.ovc' not in sys.modules\n"
        "assert openvino.convert_model(sys.argv[1]).inputs\n"
        "assert 'openvino_telemetry' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)


def test_a_shape_the_network_cannot_take_is_a_sentence():
    with pytest.raises(InferenceError, match=r"OpenVINO failed on \(1, 1, 5, 6, 7\)"):
        OnnxBackend(demo(), device="cpu").forward(windows(1, 1, 5, 6, 7))


def test_a_torch_network_is_proven_against_the_original(shared, configs):
    pytest.importorskip("mmengine", reason="needs the mmengine extra")

    paths = configs / "hippocampus_unet.py", shared / "demo/hippocampus_unet_state_dict.pth"
    fast = mmengine_backend(*paths, device="cpu")
    plain = mmengine_backend(*paths, device="cpu", provider="cpu")
    assert (fast.provider, plain.provider) == ("openvino", "torch")
    x = windows(1, 1, 24, 28, 20)
    reference = plain.forward(x)
    for _ in range(2):  # the proof, and the proven
        assert relative_error(fast.forward(x), reference) < 1e-4
    assert fast.provider == "openvino"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows the affinity of every thread")
def test_no_thread_is_pinned_to_a_core():
    """Pinned threads of several workers would share the first core, and leave the others idle."""
    program = (
        "import os, sys, threading\n"
        "import numpy as np\n"
        "from itk_infer.model.kinds.onnx import OnnxBackend\n"
        "backend = OnnxBackend(__import__('pathlib').Path(sys.argv[1]), device='cpu', threads=1)\n"
        "mine, seen, windows = os.sched_getaffinity(0), [], np.zeros((1, 1, 40, 56, 40), np.float32)\n"
        "def look():\n"
        "    while not done.is_set():\n"
        "        seen.extend(os.sched_getaffinity(int(thread)) for thread in os.listdir('/proc/self/task'))\n"
        "done = threading.Event()\n"
        "backend.forward(windows)\n"
        "watcher = threading.Thread(target=look)\n"
        "watcher.start()\n"
        "for _ in range(20): backend.forward(windows)\n"
        "done.set()\n"
        "watcher.join()\n"
        "sys.exit(any(where != mine for where in seen) or len(seen) < 20)\n"
    )
    words = [sys.executable, "-c", program, str(demo())]
    assert subprocess.run(words, check=False).returncode == 0
