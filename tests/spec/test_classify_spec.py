"""Specs of models that classify: parsed, refused with the key, and written back."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from itk_infer.errors import SpecError, TaskError
from itk_infer.spec import parse_spec
from itk_infer.spec.classify_parse import is_classification, parse_classify_spec

FULL: dict[str, Any] = {
    "spec": 1,
    "task": "classify",
    "name": "head",
    "input": {
        "dimensions": 2,
        "values": "modality",
        "view": 1,
        "missing_voi": "refuse",
        "channels": [
            "grey",
            "red",
            {"slice": -1, "window": [40, 80]},
            {"plane": "blue", "slice": 1},
        ],
        "size": [64, 48],
        "resize": {"aspect": "fit", "interpolation": "cubic", "antialias": True},
        "center_crop": [32, 32],
        "intensity": [
            {"op": "standardize", "mean": [0.4, 0.5, 0.6, 0.7], "std": [0.2]},
            {"op": "minmax"},
        ],
        "repair": "wrapped_12_bit",
    },
    "output": {
        "activation": "sigmoid",
        "labels": [
            {"name": "any", "channel": 1, "threshold": 0.4},
            {"name": "subdural", "channel": 0, "parent": "any"},
        ],
        "study": "top3_mean",
        "mirrored": True,
    },
    "select": [{"keyword": "Modality", "in": ["CT"]}, {"keyword": "ImageType", "not_in": ["LOCALIZER"]}],
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The spec with another value at a path such as output.study; None removes it."""
    document = copy.deepcopy(FULL)
    *parts, last = path.split(".")
    place = document
    for part in parts:
        place = place[part]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return document


def test_everything_is_read_and_written_back() -> None:
    spec = parse_classify_spec(FULL, "it")
    assert spec.input.reach == 1
    assert spec.input.channels[2].window == (40.0, 80.0)
    assert spec.output.labels[1].parent == "any"
    again = parse_classify_spec(json.loads(json.dumps(spec.to_dict())), "again")
    assert again == spec


def test_what_a_window_is_applied_to() -> None:
    spec = parse_classify_spec(changed("input.values", None), "it")
    assert spec.input.values == "modality", "windows are of HU, not of what a viewer shows"


def test_the_word_of_other_files_is_taken_too() -> None:
    document = FULL | {"task": "classification"}
    assert is_classification(document)
    assert parse_classify_spec(document, "it").to_dict()["task"] == "classify"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("output.activation", None, "activation is missing: sigmoid"),
        ("output.labels", None, "labels is missing"),
        ("output", None, "needs output"),
        ("output.labels", [], "at least one label"),
        ("output.labels", [{"channel": 0}], "needs a name"),
        ("output.labels", ["a", "a"], "name a is given to more than one"),
        ("output.labels", [{"name": "a", "channel": 1}, {"name": "b", "channel": 1}], "channel 1 is given"),
        ("output.labels", [{"name": "a", "threshold": 1.5}], "probability from 0 to 1"),
        ("output.labels", [{"name": "a", "parent": "b"}], "which is not another label"),
        ("output.study", "median", "must be max, mean"),
        ("output.values", "probabilities", "activation must be none"),
        ("input.dimensions", 3, "pictures have 2"),
        ("input.size", [0, 3], "rows and columns"),
        ("input.size", None, "needs input.size"),
        ("input.center_crop", [65, 1], "larger than input.size"),
        ("input.values", "stored", "repair is for values of the modality"),
        ("input.repair", "all", "input.repair"),
        ("output.mirrored", 2, "output.mirrored"),
        ("input.view", -1, "counted from 0"),
        ("input.channels", [], "at least one input channel"),
        ("input.channels", ["gray"], "must be grey or red"),
        ("input.channels", [{"slice": 65}], "at most 64"),
        ("input.channels", [{"window": [40]}], "level and width"),
        ("input.intensity", [{"op": "zscore", "mask": "crop"}], "no mask 'crop'"),
        ("input.sizes", [1, 1], "did you mean size"),
        ("select", [{"keyword": "Modality"}], "either 'in' or 'not_in'"),
        ("select", [{"keyword": "Modality", "in": []}], "at least one value"),
    ],
)
def test_what_is_wrong_is_named(path: str, value: Any, words: str) -> None:
    with pytest.raises(SpecError, match="^it: ") as refusal:
        parse_classify_spec(changed(path, value), "it")
    assert words in str(refusal.value)


def test_probabilities_need_no_activation() -> None:
    document = changed("output.activation", None)
    document["output"]["values"] = "probabilities"
    assert parse_classify_spec(document, "it").output.activation == "none"


def test_the_main_job_names_the_other_command() -> None:
    with pytest.raises(TaskError, match="itk_infer classify"):
        parse_spec(FULL, "it")
    assert parse_spec({"spec": 1, "task": "segment"}, "it").name == ""
