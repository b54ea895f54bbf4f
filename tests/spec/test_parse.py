"""The model spec: precedence, defaults, and errors that name the key."""

from __future__ import annotations

import re

import pytest

from itk_infer.errors import SpecError
from itk_infer.spec import Label, ModelSpec, merge, parse_spec
from itk_infer.spec.intensity import Standardize, WindowLevel, ZScore


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"input": {"orientatoin": "RAS"}}, "unknown key input.orientatoin; did you mean orientation"),
        ({"inputs": {}}, "unknown key inputs; did you mean input"),
        ({"spec": 2}, "version 1"),
        ({"input": {"orientation": "LLS"}}, "input.orientation"),
        ({"input": {"spacing": [1, 1, 0]}}, "input.spacing must be above 0"),
        ({"input": {"spacing": [1, 1]}}, "three values"),
        ({"input": {"spacing": [1, 1, 1], "size": [8, 8, 8]}}, "exclude each other"),
        ({"input": {"intensity": [{"op": "windw"}]}}, "intensity\\[0\\].op must be window or"),
        ({"input": {"intensity": [{"op": "window", "level": 4}]}}, "needs width"),
        ({"input": {"intensity": [{"op": "window", "level": 4, "width": 0}]}}, "width must be above 0"),
        ({"input": {"intensity": [{"op": "window", "level": True, "width": 1}]}}, "must be a number"),
        ({"input": {"intensity": [{"op": "clip", "lower": 2, "upper": 1}]}}, "lower is above upper"),
        ({"input": {"intensity": [{"op": "clip_percentile", "lower": 2, "upper": 101}]}}, "between 0 and 100"),
        (
            {"input": {"intensity": [{"op": "standardize", "mean": [1, 2], "std": 1}]}},
            "one for each of 1 channels",
        ),
        ({"input": {"intensity": [{"op": "minmax", "channels": ["T2"]}]}}, "no input channel 'T2'"),
        ({"input": {"channels": []}}, "at least one"),
        ({"window": {"patch_size": [8, 8, 0]}}, "1 or more"),
        ({"window": {"patch_size": [8.5, 8, 8]}}, "whole number"),
        ({"window": {"blend": "gauss"}}, "gaussian or constant"),
        ({"window": {"mirror_axes": [3]}}, "mirror_axes"),
        ({"output": {"decision": "softmax"}}, "argmax or threshold"),
        ({"output": {"threshold": 1.0}}, "between 0 and 1"),
        ({"output": {"threshold": {"liver": 0}}}, "output.threshold.liver must lie between 0 and 1"),
        ({"output": {"threshold": {}}}, "names no label"),
        ({"output": {"threshold": "low"}}, "output.threshold must be a number"),
        ({"output": {"labels": [{"value": 1}, {"value": 1}]}}, "value 1 is given to more than one"),
        ({"output": {"labels": [{"value": 70000}]}}, "between 1 and 65535"),
        ({"output": {"labels": [{"value": 1}] * 65_536}}, "at most 65535"),
        ({"output": {"labels": [{"value": 1, "name": "x" * 501}]}}, "at most 500"),
        ({"input": {"spacing": [1, 1, 10**400]}}, "must be a number"),
        ({"input": {"spacing": [1, 1, 1e-300]}}, "between 1e-06 and 1e\\+06 mm"),
        ({"input": {"size": [8, 8, 10**30]}}, "at most 1,048,576"),
        ({"window": {"patch_size": [8, 8, 10**30]}}, "at most 1,048,576"),
        ({"name": "\ud800"}, "cannot be written as text"),
        ({"output": {"labels": [{"value": 1, "color": "red"}]}}, "#e6194b"),
        ({"output": {"labels": [{"name": "x"}]}}, "needs a value"),
        (
            {"output": {"labels": [{"value": 1, "name": "x"}, {"value": 2, "name": "x"}]}},
            "name x is given to more",
        ),
        (
            {"output": {"labels": [{"value": 1, "name": "x"}, {"value": 2, "name": "x "}]}},
            "name x is given to more",
        ),
        ({"output": {"labels": [{"value": 1, "name": "label 2"}, {"value": 2}]}}, "name label 2 is given to more"),
        ({"input": {"channels": ["T1", "T2", "T1"]}}, "input.channels names T1 twice"),
        ({"output": {"labels": [{"value": 0, "channel": 1}, {"value": 1}]}}, "channel 1 is given to more"),
        ([], "must be an object"),
    ],
)
def test_errors_name_source_and_key(document, words):
    with pytest.raises(SpecError, match=f"^model.spec.json: .*{words}"):
        parse_spec(document, "model.spec.json")


def test_defaults_are_those_of_the_documentation():
    spec = parse_spec({"spec": 1}, "test")
    assert spec == ModelSpec()
    assert spec.input.orientation == "LPI"
    assert spec.input.padding.mode == "constant"
    assert spec.window.patch_size is None
    assert spec.window.blend == "gaussian"
    assert spec.output.decision == "argmax"


def test_blocks_merge_key_by_key_and_lists_whole():
    merged = merge(
        {"name": "a", "input": {"orientation": "RAS", "intensity": [{"op": "minmax"}, {"op": "zscore"}]}},
        {"input": {"intensity": [{"op": "minmax"}]}, "window": {"blend": "constant"}},
        {"name": "b"},
    )
    assert merged == {
        "name": "b",
        "input": {"orientation": "RAS", "intensity": [{"op": "minmax"}]},
        "window": {"blend": "constant"},
    }


def test_channels_are_named_or_counted():
    spec = parse_spec(
        {
            "input": {
                "channels": ["T1", "T2"],
                "intensity": [{"op": "zscore", "channels": ["T2"]}, {"op": "zscore"}],
            }
        },
        "test",
    )
    assert spec.input.intensity == (ZScore("all", (1,)), ZScore())


def test_the_spec_survives_its_own_json():
    document = {
        "spec": 1,
        "name": "x",
        "input": {
            "channels": ["a", "b"],
            "orientation": None,
            "spacing": [1, None, 2],
            "intensity": [
                {"op": "window", "level": 0, "width": 80},
                {"op": "standardize", "mean": [1, 2], "std": 3, "channels": ["a", "b"]},
            ],
        },
        "window": {"patch_size": [8, 8, 8], "mirror_axes": [2]},
        "output": {"decision": "threshold", "labels": [{"value": 3, "name": "n", "channel": 0}]},
    }
    spec = parse_spec(document, "test")
    assert spec.input.intensity == (WindowLevel(0, 80), Standardize((1, 2), (3,), (0, 1)))
    assert parse_spec(spec.to_dict(), "again") == spec


def test_default_labels_follow_the_channels():
    argmax, threshold = parse_spec({}, "t").output, parse_spec({"output": {"decision": "threshold"}}, "t").output
    assert [(x.value, x.channel, x.name) for x in argmax.label_table(3)] == [(1, 1, "label 1"), (2, 2, "label 2")]
    assert [(x.value, x.channel) for x in threshold.label_table(2)] == [(1, 0), (2, 1)]


def test_channels_without_a_name_are_not_thrown_away():
    output = parse_spec({"output": {"labels": [{"value": 2, "name": "liver"}]}}, "t").output
    assert [(x.value, x.name) for x in output.label_table(4)] == [(2, "liver"), (1, "label 1"), (3, "label 3")]
    swapped = parse_spec({"output": {"labels": [{"value": 2, "channel": 1}]}}, "t").output
    with pytest.raises(SpecError, match="output channel 2 has no label.*2 is given to another"):
        swapped.label_table(3)


@pytest.mark.parametrize("decision", ["argmax", "threshold"])
def test_a_label_that_is_named_as_another_would_be_is_refused(decision):
    labels = [{"value": 1, "name": " label 2 "}]
    output = parse_spec({"output": {"decision": decision, "labels": labels}}, "t").output
    assert output.labels is not None
    assert output.labels[0].name == "label 2"
    with pytest.raises(
        SpecError, match="value 1 is named 'label 2', which is also what output channel [12] is called"
    ):
        output.label_table(4)
    others = [*labels, *({"value": value, "name": f"part {value}"} for value in (2, 3, 4))]
    named = parse_spec({"output": {"decision": decision, "labels": others}}, "t").output
    assert len(named.label_table(4 if decision == "threshold" else 5)) == 4


TWICE = [
    {"value": 1, "name": "lungs", "channel": 0},
    {"value": 2, "name": "tumour", "channel": 1},
    {"value": 1, "name": "lungs", "channel": 2},
]


def test_a_label_may_be_read_from_several_channels_where_labels_may_overlap():
    spec = parse_spec({"output": {"decision": "threshold", "labels": TWICE}}, "t")
    assert [(x.value, x.name, x.channels) for x in spec.output.label_table(4)] == [
        (1, "lungs", (0, 2)),
        (2, "tumour", (1,)),
        (4, "label 4", (3,)),
    ]
    assert [(x.value, x.channels) for x in spec.output.painting(4)] == [(1, (0,)), (2, (1,)), (1, (2,)), (4, (3,))]
    assert parse_spec(spec.to_dict(), "again") == spec


@pytest.mark.parametrize(
    ("changed", "decision", "message"),
    [
        (
            {"name": "right lung"},
            "threshold",
            r"labels\[2\] and an entry before it both have the value 1, and differ",
        ),
        (
            {"color": "#ff0000"},
            "threshold",
            r"labels\[2\] and an entry before it both have the value 1, and differ",
        ),
        ({"channel": 0}, "threshold", "channel 0 is given to more than one label"),
        ({"value": 3}, "threshold", "name lungs is given to more than one label"),
        ({}, "argmax", "value 1 is given to more than one label"),
    ],
    ids=["name", "colour", "channel", "value", "argmax"],
)
def test_entries_of_one_label_are_alike(changed, decision, message):
    labels = [*TWICE[:2], {**TWICE[2], **changed}]
    with pytest.raises(SpecError, match=message):
        parse_spec({"output": {"decision": decision, "labels": labels}}, "t")


@pytest.mark.parametrize("name", ["", "  ", "\t"])
def test_a_name_of_spaces_is_none(name):
    labels = parse_spec({"output": {"labels": [{"value": 3, "name": name}]}}, "t").output.labels
    assert labels is not None
    assert labels[0].name == "label 3"


def test_the_background_can_be_another_channel():
    labels = [{"value": 0, "channel": 1}, {"value": 5, "channel": 0, "name": "a"}, {"value": 2, "name": "b"}]
    spec = parse_spec({"output": {"labels": labels}}, "t")
    assert [(x.value, x.channel) for x in spec.output.label_table(3)] == [(5, 0), (2, 2)]
    assert spec.output.background == (1,)
    assert parse_spec(spec.to_dict(), "again") == spec


def test_labels_beyond_the_network_and_one_channel_argmax_are_errors():
    output = parse_spec({"output": {"labels": [{"value": 5}]}}, "t").output
    with pytest.raises(SpecError, match="label 5 .* channel 5"):
        output.label_table(3)
    with pytest.raises(SpecError, match="threshold"):
        parse_spec({}, "t").output.label_table(1)


def test_colours_are_parsed():
    assert Label(1, "x", "#ff8000", 1).rgb == (255, 128, 0)


LATER = {
    "input": {
        "numbered_files": True,
        "axes": "xzy",
        "crop": {"to": "above", "value": -500.0, "margin": 2},
        "resampling": {
            "alignment": "edge",
            "size": "ratio",
            "clip": True,
            "anisotropic": {"threshold": 2.5, "axis_interpolation": "linear"},
        },
        "intensity": [{"op": "zscore", "mask": "crop", "outside": "keep"}],
    },
    "window": {
        "step": 0.8,
        "placement": "even",
        "gaussian": {"center": "voxel"},
        "mirror_axes": [0, 2],
        "mirror": True,
    },
}


def test_keys_younger_than_the_format_are_read_back_and_left_out_at_their_defaults():
    spec = parse_spec(LATER, "test")
    assert parse_spec(spec.to_dict(), "test") == spec
    assert spec.input.resampling.anisotropic.axis_interpolation == "linear"
    written = parse_spec({}, "test").to_dict()
    for block, keys in LATER.items():
        assert not (set(keys) - {"resampling", "intensity", "mirror_axes"}) & set(written[block])
    assert set(written["input"]["resampling"]) == {"interpolation", "alignment", "order"}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"input": {"axes": "zzx"}}, "input.axes must hold z, y and x once each"),
        ({"input": {"crop": {"to": "nonzero", "value": 3}}}, "input.crop.value belongs to input.crop.to 'above'"),
        ({"input": {"crop": {"margin": -1}}}, "input.crop.margin must be 0 or more"),
        ({"input": {"crop": {"beyond": True}}}, "need input.crop.after 'resampling' or 'intensity'"),
        ({"input": {"crop": {"multiple_of": [2, 2, 2]}}}, "need input.crop.after 'resampling' or 'intensity'"),
        (
            {
                "input": {
                    "crop": {"after": "intensity"},
                    "intensity": [{"op": "zscore", "mask": "crop"}],
                }
            },
            "input.crop.after must be loading with the mask 'crop'",
        ),
        (
            {"input": {"crop": {"after": "resampling"}, "resampling": {"order": "after_intensity"}}},
            "input.crop.after 'resampling' needs",
        ),
        ({"input": {"pad_to": {"size": [0, 1, 1]}}}, "input.pad_to.size must be 1 or more"),
        ({"input": {"resampling": {"anisotropic": {}}}}, "input.resampling.anisotropic needs"),
        (
            {"input": {"intensity": [{"op": "zscore", "mask": "crop"}]}},
            "is that of input.crop, which is not given",
        ),
        ({"window": {"step": 1.5}}, "window.step must be at most 1"),
        ({"window": {"mirror": True}}, "window.mirror needs window.mirror_axes"),
        ({"window": {"mirror": 1}}, "window.mirror must be true or false"),
    ],
)
def test_what_the_younger_keys_refuse(document, message):
    with pytest.raises(SpecError, match=re.escape(message)):
        parse_spec(document, "test")


def test_thresholds_of_labels():
    labels = [{"value": 1, "name": "liver"}, {"value": 2, "name": 'le, "sion"'}]
    base = {"output": {"decision": "threshold", "threshold": 0.3, "labels": labels}}
    assert parse_spec(base, "t").to_dict()["output"]["threshold"] == 0.3
    patched = parse_spec(merge(base, {"output": {"threshold": {'le, "sion"': 0.7}}}), "t")
    assert patched.output.threshold_by_channel(2) == (0.5, 0.7)  # a table replaces the number
    document = patched.to_dict()
    assert document["output"]["threshold"] == {'le, "sion"': 0.7}
    assert "label_thresholds" not in document["output"]
    assert parse_spec(document, "again") == patched
    assert parse_spec(merge(document, base), "t").output.threshold_by_channel(2) == (0.3, 0.3)
