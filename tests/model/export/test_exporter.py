"""Networks to ONNX files: what is in them, and that nothing is written that answers differently."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from support.loading import torch_backend
from support.onnx_files import sign_network

from itk_infer.errors import ConfigError, ModelError, OutputError
from itk_infer.model.ensemble import Ensemble
from itk_infer.model.export.exporter import ORIGIN, export_onnx
from itk_infer.model.kinds.onnx import OnnxBackend
from itk_infer.model.spec_sources import SpecSources
from itk_infer.options import Options
from itk_infer.spec import parse_spec

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
nn = torch.nn
DOCUMENT = {
    "name": "small",
    "licence": "none",
    "input": {"orientation": "RAS", "intensity": [{"op": "zscore", "mask": "nonzero"}], "crop": {"to": "nonzero"}},
    "window": {"patch_size": [8, 12, 16], "mirror_axes": [1], "placement": "even", "multiple_of": [4, 4, 4]},
    "output": {
        "labels": [
            {"value": 3, "name": "liver", "channel": 1, "color": "#112233"},
            {"value": 5, "name": "rest", "channel": 2},
        ]
    },
}


class Small(nn.Module):
    """Two levels, deep supervision: the finest output first."""

    def __init__(self, conv=nn.Conv3d, norm=nn.InstanceNorm3d, width=8):
        super().__init__()
        self.first = nn.Sequential(conv(1, width, 3, padding=1), norm(width, affine=True), nn.LeakyReLU())
        self.down = conv(width, width, 2, stride=2)
        self.last = conv(2 * width, 3, 1)

    def forward(self, image):
        fine = self.first(image)
        coarse = self.down(fine)
        up = nn.functional.interpolate(coarse, size=fine.shape[2:], mode="nearest")
        logits = self.last(torch.cat([fine, up], 1))
        return [logits, coarse]


class Guarded(Small):
    """Decides by a value, which torch.export does not follow."""

    def forward(self, image):
        logits = super().forward(image)[0]
        return logits + 1 if image.sum() > 1e30 else logits


class Wrong(Small):
    """Depends on what an exporter takes for a constant."""

    calls = 0

    def forward(self, image):
        Wrong.calls += 1
        return super().forward(image)[0] * (1 + Wrong.calls)


class Impossible(Small):
    """Uses an operation that ONNX does not have."""

    def forward(self, image):
        return torch.special.bessel_j0(super().forward(image)[0])


def loaded(network=Small, document=DOCUMENT, **more):
    torch.manual_seed(1)
    return torch_backend(network(**more), parse_spec(document, "test"), device="cpu", provider="cpu", batch_hint=2)


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    backend = loaded(width=32)
    path = tmp_path_factory.mktemp("export") / "small.onnx"
    return backend, path, export_onnx(backend, path, sources=["small.pth"])


def test_the_network_answers_the_same_for_any_number_of_windows(exported):
    backend, path, result = exported
    run = session(path)
    assert run.get_inputs()[0].shape[1:] == [1, 8, 12, 16]
    assert len(run.get_outputs()) == 1
    for count in (1, 2, 5):
        windows = np.random.default_rng(count).normal(size=(count, 1, 8, 12, 16)).astype(np.float32)
        with torch.no_grad():
            expected = backend._network(torch.from_numpy(windows))[0].numpy()
        np.testing.assert_allclose(run.run(None, {run.get_inputs()[0].name: windows})[0], expected, atol=1e-4)
    assert [one.runtime for one in result.comparisons] == ["onnxruntime", "openvino"]
    assert all(one.agreement == 1 and one.windows == 6 for one in result.comparisons)
    assert result.notes == ("exported by torch.export",)


def test_the_whole_spec_is_inside(exported):
    backend, path, _ = exported
    alone = OnnxBackend(path, device="cpu", provider="cpu")
    assert alone.spec == backend.spec
    assert alone.shape.batch_hint == 2
    entries = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    origin = json.loads(entries[ORIGIN])
    assert origin["files"] == ["small.pth"]
    assert origin["sha256"] == backend.digest
    assert origin["versions"]["torch"] == torch.__version__


def test_nothing_of_the_exporting_machine_is_inside(exported):
    _, path, _ = exported
    content = path.read_bytes()
    assert b".py" not in content
    assert b"stack_trace" not in content
    assert [entry.name for entry in path.parent.iterdir()] == ["small.onnx"]


def test_free_sizes(tmp_path):
    backend = loaded()
    result = export_onnx(backend, tmp_path / "free.onnx", free_size=True)
    assert all(one.windows == 12 for one in result.comparisons)
    alone = OnnxBackend(tmp_path / "free.onnx", device="cpu", provider="cpu")
    assert alone.shape.size == (None, None, None)
    windows = np.random.default_rng(0).normal(size=(1, 1, 12, 20, 8)).astype(np.float32)
    np.testing.assert_allclose(alone.forward(windows), backend.forward(windows), atol=1e-4)


def test_a_network_of_planes(tmp_path):
    document = {"window": {"patch_size": [1, 12, 16]}}
    backend = loaded(document=document, conv=nn.Conv2d, norm=nn.InstanceNorm2d)
    export_onnx(backend, tmp_path / "flat.onnx")
    assert session(tmp_path / "flat.onnx").get_inputs()[0].shape[1:] == [1, 12, 16]
    alone = OnnxBackend(tmp_path / "flat.onnx", device="cpu", provider="cpu")
    windows = np.random.default_rng(0).normal(size=(3, 1, 1, 12, 16)).astype(np.float32)
    np.testing.assert_allclose(alone.forward(windows), backend.forward(windows), atol=1e-4)


def test_tracing_where_torch_export_fails(tmp_path):
    result = export_onnx(loaded(Guarded), tmp_path / "traced.onnx")
    assert result.notes[0] == "exported by tracing"
    assert "torch.export cannot export this network" in result.notes[1]
    assert all(one.agreement == 1 for one in result.comparisons)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Wrong, r"outputs differ from the model's .*nothing was written"),
        (Impossible, "the network cannot be exported: by torch.export: .*; by tracing: "),
    ],
    ids=["wrong", "impossible"],
)
def test_no_file_where_it_cannot_be_right(tmp_path, network, message):
    (tmp_path / "model.onnx").write_bytes(b"older")
    with pytest.raises(ModelError, match=message):
        export_onnx(loaded(network), tmp_path / "model.onnx")
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_bytes() == b"older"


def test_a_verification_that_fails_leaves_nothing(tmp_path, exported):
    def refuse(file, bound):
        assert OnnxBackend(file, device="cpu").spec.name == "small"
        raise ModelError("other masks")

    backend = OnnxBackend(exported[1], device="cpu", provider="cpu")
    with pytest.raises(ModelError, match="other masks"):
        export_onnx(backend, tmp_path / "model.onnx", verify=[refuse])
    assert list(tmp_path.iterdir()) == []


def test_weights_in_half_precision_and_apart(tmp_path, exported):
    backend, path, _ = exported
    source = OnnxBackend(path, device="cpu", provider="cpu")
    half = export_onnx(source, tmp_path / "half.onnx", half=True)
    whole, small = (file.stat().st_size for file in (path, tmp_path / "half.onnx"))
    assert small < 0.75 * whole
    assert all(0 < one.relative < 2e-2 for one in half.comparisons)
    assert onnx.load(tmp_path / "half.onnx").graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    apart = export_onnx(source, tmp_path / "apart.onnx", largest=1000)
    assert [file.name for file in apart.files] == ["apart.onnx.data", "apart.onnx"]
    windows = np.random.default_rng(0).normal(size=(1, 1, 8, 12, 16)).astype(np.float32)
    moved = OnnxBackend(tmp_path / "apart.onnx", device="cpu", provider="cpu")
    np.testing.assert_allclose(moved.forward(windows), backend.forward(windows), atol=1e-4)
    again = export_onnx(moved, tmp_path / "again.onnx")
    assert [file.name for file in again.files] == ["again.onnx"]


def test_an_onnx_file_gets_the_spec_that_was_beside_it(tmp_path):
    path = sign_network(tmp_path / "old.onnx")
    (tmp_path / "old.spec.json").write_text(json.dumps({"name": "described", "input": {"orientation": "LPS"}}))
    backend = OnnxBackend(path, device="cpu", provider="cpu", sources=SpecSources(Options()))
    export_onnx(backend, tmp_path / "new.onnx")
    alone = OnnxBackend(tmp_path / "new.onnx", device="cpu", provider="cpu")
    assert alone.spec.name == "described"
    assert alone.spec.input.orientation == "LPS"
    with pytest.raises(ConfigError, match="keeps its sizes"):
        export_onnx(backend, tmp_path / "other.onnx", free_size=True)


def test_what_is_not_one_network_is_refused(tmp_path):
    backend = loaded()
    with pytest.raises(ConfigError, match="export its models one by one"):
        export_onnx(Ensemble([backend, backend], ["a", "b"]), tmp_path / "model.onnx")
    backend.previous = loaded()
    with pytest.raises(ConfigError, match="second stage of a cascade"):
        export_onnx(backend, tmp_path / "model.onnx")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OutputError, match="is not there"):
        export_onnx(loaded(), tmp_path / "nowhere" / "model.onnx")
