"""Networks and groups of them: means in stages, labels by name, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.classify_files import CLASSIFY, answer, brightness_network

from itk_infer.errors import ConfigError, InferenceError, ModelError, SpecError
from itk_infer.model.classifier import PictureClassifier, group_of
from itk_infer.model.load_classifier import load_classifier, says_it_classifies
from itk_infer.model.spec_sources import SpecSources
from itk_infer.options import Options
from itk_infer.spec.classify_parse import parse_classify_spec

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
PICTURES = np.zeros((3, 1, 2, 2), np.float32)


@dataclasses.dataclass
class Fixed:
    """Answers the same to every picture."""

    logits: list[float]
    spec: Any
    name: str = "fixed"
    kind: str = "onnx"
    digest: str = "d"
    device: str = "cpu"
    provider: str = "cpu"
    precision: Any = "fp32"
    batch: int | None = None
    notes: tuple[str, ...] = ("a note",)

    def forward(self, pictures: Any) -> Any:
        assert self.batch in (None, len(pictures))
        return np.tile(np.array(self.logits, np.float32), (len(pictures), 1))

    def in_precision(self, precision: Any) -> None:
        self.precision = precision


def spec(activation: str = "sigmoid", labels: Any = ("a", "b")) -> Any:
    output = {"activation": activation, "labels": list(labels)}
    return parse_classify_spec({"spec": 1, "task": "classify", "output": output}, "it")


def load(*paths: Path, **options: Any) -> PictureClassifier:
    kind = options.pop("kind", None)
    chosen = Options.from_keywords(device="cpu", provider="cpu", **options)
    return load_classifier(paths, SpecSources(chosen), chosen, kind=kind)


def test_one_network() -> None:
    scores = PictureClassifier(Fixed([0.0, 2.0], spec())).scores([PICTURES])
    np.testing.assert_allclose(scores.probabilities, [[0.5, 1 / (1 + np.exp(-2))]] * 3)
    np.testing.assert_allclose(scores.logits, [[0, 2]] * 3)
    assert scores.std is None
    softmax = PictureClassifier(Fixed([0.0, 2.0, 9.0], spec("softmax"))).scores([PICTURES])
    np.testing.assert_allclose(softmax.probabilities[0], np.exp([0, 2]) / np.exp([0, 2, 9]).sum(), rtol=1e-6)


def test_a_mean_of_means_is_no_mean_of_all() -> None:
    """Three folds of one network and two of another, as in the shared ensemble."""
    probabilities = [0.1, 0.2, 0.6, 0.7, 0.9]
    networks = [Fixed([p], spec("none", ["a"]), digest=str(p)) for p in probabilities]
    whole = group_of([group_of(networks[:3], name="one"), group_of(networks[3:], name="two")])
    model = PictureClassifier(whole)
    scores = model.scores([PICTURES])
    np.testing.assert_allclose(scores.probabilities, (0.3 + 0.8) / 2, atol=1e-6)
    np.testing.assert_allclose(scores.std, np.std(probabilities), atol=1e-6)
    assert scores.members.shape == (5, 3, 1)
    assert [member["group"] for member in model.members] == ["one"] * 3 + ["two"] * 2
    assert model.notes == ["a note"]
    flat = PictureClassifier(group_of(networks))
    np.testing.assert_allclose(flat.scores([PICTURES]).probabilities, 0.5, atol=1e-6)
    assert flat.digest != model.digest


def test_weights_and_logits() -> None:
    networks = [Fixed([value], spec(labels=["a"])) for value in (0.0, 4.0)]
    weighted = PictureClassifier(group_of(networks, [3, 1], "logits")).scores([PICTURES])
    np.testing.assert_allclose(weighted.probabilities, 1 / (1 + np.exp(-1.0)))
    with pytest.raises(ConfigError, match="2 models"):
        group_of(networks, [1.0])
    for activation in ("none", "softmax"):
        with pytest.raises(ConfigError, match="logits cannot be averaged"):
            group_of([networks[0], Fixed([0.5], spec(activation, ["a"]))], None, "logits")


class Leftmost(Fixed):
    """Answers the value of the leftmost pixel, ten times for the second label."""

    def forward(self, pictures: Any) -> Any:
        return pictures[:, 0, 0, :1] * np.array([[1, 10]], np.float32)


def test_a_mean_with_the_mirror_image() -> None:
    document = {"activation": "sigmoid", "labels": ["a", "b"], "mirrored": True}
    both = parse_classify_spec({"spec": 1, "task": "classify", "output": document}, "it")
    pictures = np.array([[[[1.0, 5.0, -2.0]]], [[[0.0, 5.0, 0.5]]]], np.float32)
    plain, mirrored = (PictureClassifier(Leftmost([], one)) for one in (spec(), both))
    assert plain.spec_digest != mirrored.spec_digest
    scores = mirrored.scores([pictures])
    left, right = (1 / (1 + np.exp(-np.array(ends)[:, None] * [1, 10])) for ends in ((1.0, 0.0), (-2.0, 0.5)))
    np.testing.assert_allclose(scores.probabilities, (left + right) / 2, atol=1e-6)
    assert scores.logits is None
    np.testing.assert_allclose(plain.scores([pictures]).probabilities, left, atol=1e-6)
    with pytest.raises(ConfigError, match="averaged with those of mirror images"):
        group_of([Leftmost([], both), Leftmost([], both)], None, "logits")


def test_labels_are_matched_by_name() -> None:
    swapped = Fixed([5.0, -5.0], spec(labels=["b", "a"]))
    scores = PictureClassifier(group_of([Fixed([-5.0, 5.0], spec()), swapped])).scores([PICTURES])
    np.testing.assert_allclose(scores.std, 0, atol=1e-9)
    with pytest.raises(ConfigError, match="different labels \\(b, c\\)"):
        group_of([Fixed([0, 0], spec()), Fixed([0, 0], spec(labels=["a", "c"]))])


@pytest.mark.parametrize(
    ("logits", "activation", "words"),
    [
        ([0.0], "sigmoid", "at least 2 numbers"),
        ([float("nan"), 0.0], "sigmoid", "NaN or infinity"),
        ([1.5, 0.0], "none", "outside 0 to 1"),
    ],
    ids=["few", "nan", "outside"],
)
def test_answers_that_cannot_be_used(logits: list[float], activation: str, words: str) -> None:
    with pytest.raises(InferenceError, match=words):
        PictureClassifier(Fixed(logits, spec(activation))).scores([PICTURES])


def test_a_fixed_batch_is_filled_up() -> None:
    scores = PictureClassifier(Fixed([0.0, 1.0], spec(), batch=2)).scores([PICTURES])
    assert scores.probabilities.shape == (3, 2)


def test_thresholds_change_no_probability() -> None:
    other = parse_classify_spec(
        {
            "spec": 1,
            "task": "classify",
            "output": {"activation": "sigmoid", "labels": [{"name": "a", "threshold": 0.9}, "b"], "study": "mean"},
        },
        "it",
    )
    first, second = PictureClassifier(Fixed([0, 0], spec())), PictureClassifier(Fixed([0, 0], other))
    assert first.spec_digest == second.spec_digest
    assert PictureClassifier(Fixed([0, 0], spec("none"))).spec_digest != first.spec_digest


def test_an_onnx_file_with_its_spec(tmp_path: Path) -> None:
    path = brightness_network(tmp_path / "a.onnx", CLASSIFY)
    model = load(path)
    assert (model.name, model.kind, model.spec.name) == ("brightness", "onnx", "brightness")
    scores = model.scores([np.full((2, 1, 8, 8), 0.7, np.float32)])
    np.testing.assert_allclose(scores.probabilities, answer(0.7), atol=1e-6)
    assert says_it_classifies([path], None)


def test_other_places_of_the_spec(tmp_path: Path) -> None:
    path = brightness_network(tmp_path / "a.onnx")
    with pytest.raises(SpecError, match="no spec says that it classifies"):
        load(path)
    assert not says_it_classifies([path], None)
    spec_file = tmp_path / "my.json"
    spec_file.write_text(json.dumps(CLASSIFY), "utf-8")
    assert load(path, spec=spec_file).name == "brightness"
    assert says_it_classifies([path], spec_file)


def test_what_the_file_contradicts(tmp_path: Path) -> None:
    def refused(words: str, changes: dict[str, Any], **network: Any) -> None:
        document = json.loads(json.dumps(CLASSIFY))
        for block, values in changes.items():
            document[block] |= values
        with pytest.raises((SpecError, ModelError), match=words):
            load(brightness_network(tmp_path / "a.onnx", document, **network))

    refused("takes 3 channels, and its spec names 1", {}, shape=("n", 3, 8, 8))
    refused("takes 9 rows", {}, shape=("n", 1, 9, 8))
    refused("ends in Sigmoid", {}, end="Sigmoid")
    refused("read from output 4", {"output": {"labels": [{"name": "a", "channel": 4}]}})


def test_ensemble_files(tmp_path: Path) -> None:
    for number in range(3):
        brightness_network(tmp_path / f"{number}.onnx", CLASSIFY, shift=float(number))
    groups = [{"name": "two", "members": ["0.onnx", "1.onnx"]}, "2.onnx"]
    (tmp_path / "new.json").write_text(json.dumps({"ensemble": 1, "members": groups}), "utf-8")
    older = {
        "ensemble": "mean of means of probabilities",
        "members": {"two": ["0.onnx", "1.onnx"], "b": ["2.onnx"]},
    }
    (tmp_path / "older.json").write_text(json.dumps(older), "utf-8")
    wanted = (0.5 * (answer(0.5) + answer(0.5, 1)) + answer(0.5, 2)) / 2
    for name in ("new.json", "older.json"):
        model = load(tmp_path / name)
        assert model.kind == "ensemble"
        scores = model.scores([np.full((1, 1, 8, 8), 0.5, np.float32)])
        np.testing.assert_allclose(scores.probabilities, wanted, atol=1e-6)
        assert says_it_classifies([tmp_path / name], None)
    assert len(load(tmp_path / "0.onnx", tmp_path / "1.onnx").networks) == 2
    (tmp_path / "1.onnx").write_bytes(b"damaged")
    with pytest.raises((ModelError, ConfigError), match=r"1\.onnx"):
        load(tmp_path / "new.json")
    with pytest.raises(ConfigError, match="`weights` is for several"):
        load(tmp_path / "0.onnx", weights=(1.0,))


def test_kinds_that_do_not_classify(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="onnx or torch_file"):
        load(tmp_path, kind="nnunet")
    with pytest.raises(ModelError, match="no such file"):
        load(tmp_path / "none.onnx", kind="onnx")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device": "cuda"}, "no usable CUDA"),
        ({"provider": "tensorrt"}, "for segmentation"),
        ({"device": "cuda", "provider": "openvino"}, "contradict"),
    ],
    ids=["cuda", "tensorrt", "both"],
)
def test_devices_that_are_not_there(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    path = brightness_network(tmp_path / "a.onnx", CLASSIFY)
    chosen = Options(**options)
    with pytest.raises((ModelError, ConfigError), match=words):
        load_classifier([path], SpecSources(chosen), chosen)


def test_openvino_answers_alike(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    path = brightness_network(tmp_path / "a.onnx", CLASSIFY)
    chosen = Options(device="cpu", provider="openvino")
    model = load_classifier([path], SpecSources(chosen), chosen, threads=2, calls=2)
    assert model.networks[0].provider == "openvino"
    scores = model.scores([np.full((2, 1, 8, 8), 0.7, np.float32)])
    np.testing.assert_allclose(scores.probabilities, answer(0.7), atol=1e-5)


def test_a_torchscript_file(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    layers = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(1, 1))
    with torch.no_grad():
        layers[2].weight.fill_(10)
        layers[2].bias.fill_(-5)
    path = tmp_path / "a.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit itself, about its successor
        torch.jit.trace(layers.eval(), torch.zeros(1, 1, 8, 8)).save(path)
    path.with_suffix(".classify.json").write_text(json.dumps(CLASSIFY), "utf-8")
    scores = load(path).scores([np.full((2, 1, 8, 8), 0.7, np.float32)])
    np.testing.assert_allclose(scores.probabilities, answer(0.7), atol=1e-6)
    torch.save({"weights": torch.zeros(1)}, tmp_path / "b.pt")
    with pytest.raises(ModelError, match="no program to run them"):
        load(tmp_path / "b.pt")
