"""Pairs for triplets in the specs of 2D models."""

from __future__ import annotations

import json

import pytest

from itk_infer.errors import SpecError
from itk_infer.spec import parse_spec

FLAT = {"dimensions": 2}


def parsed(**blocks):
    blocks.setdefault("input", FLAT)
    return parse_spec({"spec": 1, **blocks}, "a spec")


def test_pairs_are_of_every_plane():
    spec = parsed(
        input={**FLAT, "size": [192, 96]},
        window={"patch_size": [64, 32], "patch_stride": [8, 4], "multiple_of": [4, 2]},
    )
    assert spec.input.size == (None, 192, 96)
    assert (spec.window.patch_size, spec.window.patch_stride) == ((1, 64, 32), (1, 8, 4))
    assert spec.window.multiple_of == (1, 4, 2)
    assert parsed(input={**FLAT, "spacing": [0.5, 0.25]}).input.spacing == (None, 0.5, 0.25)


def test_triplets_stay():
    assert parsed(window={"multiple_of": [1, 4, 4]}).window.multiple_of == (1, 4, 4)


def test_other_models_need_triplets():
    with pytest.raises(SpecError, match="three values"):
        parsed(input={}, window={"multiple_of": [4, 4]})


@pytest.mark.parametrize("document", [[], {"input": 3}, {"input": FLAT, "window": 3}], ids=str)
def test_what_is_no_spec_is_still_none(document):
    with pytest.raises(SpecError):
        parse_spec(document, "a spec")


@pytest.mark.parametrize(
    "given",
    [
        FLAT,
        {**FLAT, "values": "unit", "channels": ["red", "green", "blue"]},
        {**FLAT, "size": [192, 192], "resampling": {"aspect": "fit", "antialias": True}},
        {**FLAT, "size": [192, 192], "resampling": {"aspect": "stretch"}},
    ],
    ids=str,
)
def test_there_and_back(given):
    spec = parsed(input=given)
    assert parse_spec(json.loads(json.dumps(spec.to_dict())), "again") == spec


def test_a_letterbox_is_the_window():
    fit = {**FLAT, "size": [192, 96], "resampling": {"aspect": "fit"}}
    assert parsed(input=fit).window.patch_size == (1, 192, 96)
    assert parsed(input=fit, window={"patch_size": [64, 64]}).window.patch_size == (1, 64, 64)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"dimensions": 4}, "must be 2 or 3"),
        ({"dimensions": True}, "must be 2 or 3"),
        ({"values": "share"}, "values"),
        ({**FLAT, "resampling": {"aspect": "fit"}}, "needs input.dimensions 2 and input.size"),
        ({"size": [1, 2, 2], "resampling": {"aspect": "fit"}}, "needs input.dimensions 2 and input.size"),
        ({"resampling": {"antialias": True, "interpolation": "cubic"}}, "antialias needs"),
        ({**FLAT, "size": [0, 2]}, "1 or more"),
        ({**FLAT, "size": [1, 2, 3, 4]}, "three values"),
    ],
    ids=str,
)
def test_contradictions(given, words):
    with pytest.raises(SpecError, match=words):
        parsed(input=given)


def test_a_size_of_nothing_is_none():
    assert parsed(input={"size": [None, None, None]}).input.size is None
