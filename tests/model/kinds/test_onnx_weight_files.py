"""Every file that makes an ONNX model: found, held to its size, and part of the digest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.onnx_files import save

from itk_infer.errors import ModelError
from itk_infer.model.kinds.onnx import OnnxBackend
from itk_infer.model.runtimes.onnxruntime_gpu import Gpu

FREE = ("n", 1, "d", "h", "w")
METADATA = {"itk_infer": json.dumps({"spec": 1})}


def with_external(folder, **locations):
    """A network of two channels whose tensors w and b lie where `locations` says."""
    weights = {"w": np.array([1, -1], np.float32).reshape(2, 1, 1, 1, 1), "b": np.array([2, 3], np.float32)}
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"], kernel_shape=[1, 1, 1])]
    types = {"x": (TensorProto.FLOAT, FREE)}, {"y": (TensorProto.FLOAT, ("n", 2, *FREE[2:]))}
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    model = onnx.load(save(folder / "m.onnx", nodes, *types, METADATA, tensors))
    for tensor in model.graph.initializer:
        content, location = tensor.raw_data, locations[tensor.name]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        file = folder / location
        file.parent.mkdir(parents=True, exist_ok=True)
        before = file.read_bytes() if file.is_file() else b""
        file.write_bytes(before + content)
        for key, value in (("location", location), ("offset", len(before)), ("length", len(content))):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return folder / "m.onnx"


def digest(path):
    return OnnxBackend(path, device="cpu", provider="cpu").digest


@pytest.mark.parametrize(
    "locations",
    [
        pytest.param({"w": "m.data", "b": "m.data"}, id="one file beside it"),
        pytest.param({"w": "weights/net.bin", "b": "weights/net.bin"}, id="one file below it"),
        pytest.param({"w": "a/w", "b": "b/deep er/b"}, id="files in several folders"),
        pytest.param({"w": "./a/../w.bin", "b": "x" * 150}, id="roundabout, and a long name"),
    ],
)
def test_every_byte_of_the_weights_is_in_the_digest(tmp_path, locations):
    path = with_external(tmp_path, **locations)
    first = digest(path)
    assert digest(path) == first
    for location in set(locations.values()):
        file = tmp_path / location
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert digest(path) != first
        file.write_bytes(content)
    assert digest(path) == first


def test_a_model_in_one_file_has_that_files_digest(tmp_path):
    nodes = [helper.make_node("Neg", ["x"], ["m"]), helper.make_node("Concat", ["m", "x"], ["y"], axis=1)]
    types = {"x": (TensorProto.FLOAT, FREE)}, {"y": (TensorProto.FLOAT, ("n", 2, *FREE[2:]))}
    path = save(tmp_path / "m.onnx", nodes, *types, METADATA)
    assert digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_wrong_with_the_weights_is_a_sentence(tmp_path):
    path = with_external(tmp_path, w="weights/net.bin", b="weights/net.bin")
    file = tmp_path / "weights" / "net.bin"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ModelError, match=r"net\.bin, which holds 12 bytes where 16 are needed; copy or download"):
        digest(path)
    file.unlink()
    with pytest.raises(
        ModelError, match=r"m\.onnx: takes weights from weights/net\.bin, and there is no such file; copy"
    ):
        digest(path)


@pytest.mark.parametrize("location", ["../outside.bin", "below/../../outside.bin", "link.bin", "absolute"])
def test_weights_from_elsewhere_are_refused(tmp_path, location):
    folder = tmp_path / "model"
    folder.mkdir()
    if location == "absolute":
        location = str(tmp_path / "outside.bin")
    if location == "link.bin":
        (tmp_path / "outside.bin").touch()
        (folder / "link.bin").symlink_to(tmp_path / "outside.bin")
    (folder / "below").mkdir()
    path = with_external(folder, w=location, b=location)
    assert (tmp_path / "outside.bin").stat().st_size == 16
    with pytest.raises(
        ModelError, match="which lies outside the model's folder; save the model with its weights beside it"
    ):
        digest(path)


def test_engines_of_tensorrt_are_kept_apart_by_model(tmp_path, monkeypatch):
    """Its cache knows a network by its operations; two with other weights would share an engine."""
    import onnxruntime

    from itk_infer.model.kinds import onnx as module

    caches = []

    def remember(self, *_, **__):
        caches.append(self.cache)

    monkeypatch.setattr(Gpu, "open", remember)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(module, "kept_folder", lambda name: Path("cache", name))
    path = with_external(tmp_path, w="net.bin", b="net.bin")
    for content in (None, bytes(16)):
        if content is not None:
            (tmp_path / "net.bin").write_bytes(content)
        with pytest.raises(ModelError, match="`provider=tensorrt`"):
            OnnxBackend(path, provider="tensorrt")
    assert len(set(caches)) == 2
    assert all(cache.parent == Path("cache", "tensorrt") for cache in caches)
