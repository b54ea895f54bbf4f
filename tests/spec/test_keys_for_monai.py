"""Keys of the spec that bundles of MONAI need: read, written, and refused."""

from __future__ import annotations

import pytest

from itk_infer.errors import SpecError
from itk_infer.spec import ModelSpec, parse_spec

DOCUMENT = {
    "input": {
        "channels": ["a", "b"],
        "resampling": {"size": "centers"},
        "crop": {"to": "above", "after": "intensity", "multiple_of": [4, 2, 1], "beyond": True, "margin": 2},
        "pad_to": {"size": [9, 1, 4], "multiple_of": [1, 8, 1], "value": -1.0},
        "intensity": [{"op": "minmax", "across_channels": True}, {"op": "zscore", "across_channels": True}],
    },
    "window": {"gaussian": {"floor": 0.001}},
    "output": {"resample": "labels"},
}


def test_read_and_written():
    spec = parse_spec(DOCUMENT, "test")
    assert spec.window.gaussian.floor == 0.001
    assert spec.output.resample == "labels"
    assert all(step.across_channels for step in spec.input.intensity)
    assert parse_spec(spec.to_dict(), "again") == spec


def test_defaults_are_not_written():
    text = str(ModelSpec().to_dict())
    assert not [key for key in ("resample'", "floor", "across_channels", "pad_to", "crop") if key in text]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"window": {"gaussian": {"floor": 1}}}, "floor must lie between 0 and 1"),
        ({"window": {"gaussian": {"floor": -0.1}}}, "floor must lie between 0 and 1"),
        ({"output": {"resample": "mask"}}, "logits or probabilities or labels"),
        ({"input": {"intensity": [{"op": "minmax", "across_channels": 1}]}}, "true or false"),
    ],
    ids=["one", "negative", "resample", "switch"],
)
def test_what_is_refused(document, words):
    with pytest.raises(SpecError, match=words):
        parse_spec(document, "test")
