"""The order of activation, way back and decision."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from itk_infer.errors import ModelError
from itk_infer.model.kinds.monai_bundle.expression import evaluate
from itk_infer.model.kinds.monai_bundle.graph import ConfigGraph
from itk_infer.model.kinds.monai_bundle.postprocessing import merged_channels, read_postprocessing
from itk_infer.model.kinds.monai_bundle.values import components
from itk_infer.spec import Label, parse_spec
from itk_infer.volume.grid import Grid
from itk_infer.volume.postprocess import apply_rules

SOFTMAX = {"_target_": "Activationsd", "softmax": True}
SIGMOID = {"_target_": "Activationsd", "sigmoid": True}
BACK, NEAREST = ({"_target_": "Invertd", "nearest_interp": nearest} for nearest in (False, True))
ARGMAX = {"_target_": "AsDiscreted", "argmax": True}
THRESHOLD = {"_target_": "AsDiscreted", "threshold": 0.4}
LARGEST = {"_target_": "KeepLargestConnectedComponentd"}
SAVE = {"_target_": "SaveImaged", "output_dir": "$nothing()"}
BRATS = "lambda x: torch.where(x[[2]] > 0, 4, torch.where(x[[0]] > 0, 1, torch.where(x[[1]] > 0, 2, 0)))"


def read(*transforms, resampled=True):
    listed = [{"keys": "pred", **transform} for transform in transforms]
    graph = ConfigGraph({"postprocessing": listed}, "inference.json")
    parts = components(graph.get("postprocessing"), "postprocessing", "inference.json")
    return read_postprocessing(parts, "inference.json", resampled)


@pytest.mark.parametrize(
    ("transforms", "resampled", "resample"),
    [
        ([SOFTMAX, BACK, ARGMAX, SAVE], True, "probabilities"),
        ([SOFTMAX, ARGMAX, NEAREST, SAVE], True, "labels"),
        ([SOFTMAX, NEAREST, ARGMAX], True, "labels"),
        ([BACK, SOFTMAX, ARGMAX], True, "logits"),
        ([ARGMAX, BACK], False, "logits"),
        ([SOFTMAX, ARGMAX], True, "probabilities"),
        ([SOFTMAX, ARGMAX], False, "logits"),
    ],
    ids=["probabilities", "labels", "nearest", "logits", "same grid", "no way back", "no way back, same grid"],
)
def test_what_comes_back(transforms, resampled, resample):
    found = read(*transforms, resampled=resampled)
    assert found.document(resampled)["resample"] == resample
    assert found.decision == "argmax"


def test_threshold_and_merged_channels():
    found = read(SIGMOID, BACK, THRESHOLD, {"_target_": "Lambdad", "func": f"${BRATS}"})
    assert found.document(True) == {
        **{"values": "logits", "decision": "threshold", "threshold": 0.4, "resample": "probabilities"}
    }
    assert found.merged == ((1, 2), (0, 1), (2, 4))


def test_a_decision_that_is_not_written_is_the_activations():
    found = read(SIGMOID, BACK)
    assert found.decision == "threshold"
    assert "decides nothing" in found.notes[0]


@pytest.mark.parametrize(
    "text",
    [
        "lambda x: x",
        "lambda x: torch.where(x[[0]] > 0, 1, open('x'))",
        "lambda x: torch.where(y[[0]] > 0, 1, 0)",
        "lambda x: torch.where(x[[0]] > 1, 1, 0)",
        "lambda x: os.where(x[[0]] > 0, 1, 0)",
        "lambda x, y: torch.where(x[[0]] > 0, 1, 0)",
    ],
)
def test_other_functions_are_not_known(text):
    assert merged_channels(evaluate(text, {}.__getitem__)) is None


@pytest.mark.parametrize(
    ("transforms", "words"),
    [
        ([{"_target_": "RemoveSmallObjectsd"}], "RemoveSmallObjectsd is not among"),
        ([LARGEST], "after an argmax only"),
        ([SIGMOID, THRESHOLD, LARGEST], "after an argmax only"),
        ([ARGMAX, {**LARGEST, "is_onehot": True}], "without is_onehot"),
        ([ARGMAX, {**LARGEST, "applied_labels": "liver"}], "applied_labels='liver'"),
        ([ARGMAX, {**LARGEST, "connectivity": 4}], "connectivity"),
        ([ARGMAX, {**LARGEST, "num_components": 0}], "num_components"),
        ([ARGMAX, {**LARGEST, "more": 0}], "argument more"),
        ([SOFTMAX, SIGMOID], "second activation"),
        ([BACK, BACK], "second way back"),
        ([ARGMAX, ARGMAX], "second decision"),
        ([{"_target_": "AsDiscreted", "threshold": 0.5}], "without a sigmoid"),
        ([SIGMOID, {"_target_": "AsDiscreted", "threshold": 2}], "between 0 and 1"),
        ([{**ARGMAX, "to_onehot": 3}], "to_onehot=3"),
        ([{"_target_": "Activationsd", "other": "$lambda x: x"}], "other"),
        ([SIGMOID, THRESHOLD, {"_target_": "Lambdad", "func": "$lambda x: x + 1"}], "which is not run"),
        ([{"_target_": "Lambdad", "func": "$__import__('os').system"}], "is refused"),
        ([ARGMAX, {**SAVE, "upload_to": "x"}], "SaveImaged has the argument upload_to"),
        ([ARGMAX, {**SAVE, "scale": 255}], "SaveImaged has scale=255"),
        ([SOFTMAX, {"_target_": "ToTensord", "more": 1}], "ToTensord has the argument more"),
        ([SOFTMAX, {"_target_": "EnsureTyped", "more": 1}], "EnsureTyped has the argument more"),
        ([SOFTMAX, {"_target_": "CastToTyped", "more": 1}], "CastToTyped has the argument more"),
        ([SOFTMAX, {"_target_": "EnsureTyped", "dtype": "$torch.uint8"}, ARGMAX], "EnsureTyped has dtype="),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "x",
)
def test_what_is_refused(transforms, words):
    with pytest.raises(ModelError, match=words):
        read(*transforms)


def test_arguments_of_monai_that_change_nothing_are_known():
    """Every argument of these transforms in the installed MONAI, with its default value."""
    transforms = pytest.importorskip("monai.transforms", reason="its signatures are the source")
    listed = []
    for name in ("EnsureTyped", "CastToTyped", "ToTensord", "SaveImaged"):
        given = inspect.signature(getattr(transforms, name).__init__).parameters.values()
        named = [each for each in given if each.name not in ("self", "keys")]
        plain = {each.name: each.default for each in named if isinstance(each.default, str | bool | None)}
        listed.append({"_target_": name, **dict.fromkeys(each.name for each in named), **plain})
    found = read(SOFTMAX, *listed[:3], ARGMAX, {"_target_": "CastToTyped", "dtype": "$numpy.uint8"}, *listed[3:])
    assert found.document(True)["decision"] == "argmax"


def test_labels_that_the_bundle_mixes_return_from_the_nearest_voxel():
    found = read(ARGMAX, {**LARGEST, "applied_labels": [1, 2]}, BACK)
    assert found.document(True)["resample"] == "labels"
    assert any("makes fractions of them" in note for note in found.notes)
    assert any("components on the model's grid, here on the image's own" in note for note in found.notes)
    assert not read(ARGMAX, LARGEST, resampled=False).notes


@pytest.mark.parametrize(
    "arguments",
    [
        {"applied_labels": [1, 2]},
        {"applied_labels": 2, "connectivity": 1},
        {"num_components": 2},
        {"applied_labels": [1, 2], "independent": False, "connectivity": 2},
        {},
    ],
    ids=str,
)
def test_components_are_those_of_monai(arguments):
    pytest.importorskip("monai", reason="monai is not installed")
    pytest.importorskip("skimage", reason="scikit-image is not installed")
    import torch
    from monai.transforms import KeepLargestConnectedComponent

    document = read(ARGMAX, {**LARGEST, **arguments}).document(False)
    rules = parse_spec({"output": document}, "test").output.postprocessing
    table = [Label(value, str(value), "#ffffff", value) for value in (1, 2, 3)]
    compared = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        labels = (rng.integers(1, 4, (9, 8, 7)) * (rng.random((9, 8, 7)) < 0.2)).astype(np.uint8)
        found, _ = apply_rules(labels, Grid(labels.shape, (1.0, 1.0, 1.0)), table, rules)
        theirs = KeepLargestConnectedComponent(**arguments)(torch.from_numpy(labels.copy())[None].float())
        if np.array_equal(found, theirs[0].numpy()):
            compared += 1
        else:  # of equally large ones MONAI keeps one, and here all stay
            assert not np.any(theirs[0].numpy()[found == 0])
    assert compared > 10
