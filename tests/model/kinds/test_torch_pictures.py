"""Programs of torch that classify, compiled by OpenVINO: only where the answers stay the same."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itk_infer.classifier import Classifier
from itk_infer.errors import ModelError
from itk_infer.model.kinds.torch_pictures import TorchPictures

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("openvino", reason="OpenVINO is not installed")

SPEC: dict[str, Any] = {
    "spec": 1,
    "task": "classify",
    "input": {"channels": ["grey"], "size": [16, 16]},
    "output": {"activation": "sigmoid", "labels": [{"name": "a", "channel": 0}, {"name": "b", "channel": 1}]},
}
PICTURES = np.random.default_rng(1).normal(size=(5, 1, 16, 16)).astype(np.float32)


class Network(torch.nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1)
        )
        self.head = torch.nn.Linear(4, 2)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.head(torch.flatten(self.layers(pictures), 1))
        return answer


class InPairs(Network):
    def forward(self, pictures: torch.Tensor) -> Any:
        return super().forward(pictures), pictures.mean()


class Mirrored(Network):
    """A branch that a trace of one picture does not have."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        if pictures.shape[0] > 1:
            pictures = 5 - pictures
        answer: torch.Tensor = self.head(torch.flatten(self.layers(pictures), 1))
        return answer


def program(folder: Path, form: str, network: Any = None, spec: dict[str, Any] = SPEC) -> Path:
    path = folder / ("m.pt2" if form == "exported" else "m.pt")
    network = (network or Network()).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about torch.jit and about tracing
        if form == "traced":
            torch.jit.trace(network, torch.zeros(1, 1, 16, 16)).save(path)
        elif form == "scripted":
            torch.jit.script(network).save(path)
        else:
            free = {0: torch.export.Dim("batch", min=1, max=64)}
            kept = torch.export.export(network, (torch.zeros(2, 1, 16, 16),), dynamic_shapes=(free,))
            torch.export.save(kept, path)
    path.with_suffix(".classify.json").write_text(json.dumps(spec), "utf-8")
    return path


def load(path: Path, provider: str = "auto", **options: Any) -> TorchPictures:
    network = Classifier.load(path, device="cpu", provider=provider, threads=1, **options).model.networks[0]
    assert isinstance(network, TorchPictures)
    return network


@pytest.mark.parametrize("form", ["traced", "scripted", "exported"])
def test_the_answers_are_those_of_torch(tmp_path: Path, form: str) -> None:
    path = program(tmp_path, form)
    compiled, original = load(path), load(path, "cpu")
    assert (compiled.provider, original.provider) == ("openvino", "torch")
    assert not any("OpenVINO" in note for note in compiled.notes)
    with torch.inference_mode():
        wanted = Network().eval()(torch.from_numpy(PICTURES)).numpy()
    for count in (1, 5, 2):  # any number per call
        np.testing.assert_allclose(compiled.forward(PICTURES[:count]), wanted[:count], atol=1e-5)
        np.testing.assert_allclose(original.forward(PICTURES[:count]), wanted[:count], atol=1e-6)
    compiled.in_precision("fp32")
    assert compiled.digest == original.digest


def test_the_first_of_several_answers(tmp_path: Path) -> None:
    compiled = load(program(tmp_path, "traced", InPairs()))
    assert compiled.provider == "openvino"
    with torch.inference_mode():
        wanted = Network().eval()(torch.from_numpy(PICTURES)).numpy()
    np.testing.assert_allclose(compiled.forward(PICTURES), wanted, atol=1e-5)


def test_what_answers_differently_is_left_to_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from itk_infer.model.runtimes import openvino

    path = program(tmp_path, "traced")
    calls = openvino.OpenVinoCalls.__call__
    monkeypatch.setattr(openvino.OpenVinoCalls, "__call__", lambda self, windows: calls(self, windows) + 1e-3)
    network = load(path)
    assert (network.provider, network.precision) == ("torch", "fp32")
    assert any("OpenVINO cannot run m.pt (its answers differ by up to 0.001)" in note for note in network.notes)
    with pytest.raises(ModelError, match="answers differ.*leave `provider` out"):
        load(path, "openvino")


def test_a_branch_by_the_number_of_pictures(tmp_path: Path) -> None:
    """A program of TorchScript keeps it."""
    path = program(tmp_path, "scripted", Mirrored())
    network, original = load(path), load(path, "cpu")
    for count in (1, 3):
        np.testing.assert_allclose(
            network.forward(PICTURES[:count]), original.forward(PICTURES[:count]), atol=1e-5
        )


def test_pictures_of_any_size_are_left_to_torch(tmp_path: Path) -> None:
    path = program(tmp_path, "traced", spec=SPEC | {"input": {"channels": ["grey"]}})
    network = load(path)
    assert network.provider == "torch"
    assert any("gives its pictures no size" in note for note in network.notes)


def test_what_openvino_cannot_read_is_left_to_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from itk_infer.model.runtimes import openvino

    def torch_reader(*words: Any, **options: Any) -> Any:
        raise RuntimeError("no such operator\n- nor another")

    monkeypatch.setattr(openvino, "torch_reader", torch_reader)
    network = load(program(tmp_path, "traced"))
    assert network.provider == "torch"
    assert any("OpenVINO cannot run m.pt (nor another); torch runs it instead" in note for note in network.notes)
