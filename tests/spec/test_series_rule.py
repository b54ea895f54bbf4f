"""Rules for DICOM series: what they hold for, and what is no rule."""

from __future__ import annotations

import pytest

from itk_infer.errors import SpecError
from itk_infer.spec import parse_spec
from itk_infer.spec.series_rule import parse_rules


def holds(condition, *values):
    (rule,) = parse_rules(condition, "test")
    return rule.all[0].holds(values)


def test_conditions():
    assert holds({"Modality": "^mr$"}, "MR")
    assert not holds({"Modality": "^mr$"}, "PTMR")
    assert not holds({"Modality": "CT"})
    assert holds({"EchoNumbers": 2}, "1", "2.0")
    assert not holds({"EchoNumbers": 2}, "12", "x")
    kind = {"ImageType": {"has": "original", "has_not": ["LOCALIZER", "MPR"]}}
    assert holds(kind, "ORIGINAL", "PRIMARY")
    assert not holds(kind, "ORIGINAL", "localizer")
    assert holds({"SliceThickness": {"min": 1, "max": 1.5}}, "1.5")
    assert not holds({"SliceThickness": {"max": 1.5}}, "")
    assert holds({"plane": "axial"}, "axial")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([1], r"series\[0\] must be an object"),
        ({"Modalty": "CT"}, "unknown key series.Modalty; did you mean Modality"),
        ({"all": [{"Modality": "("}]}, "not a regular expression"),
        ({"all": {"Modality": "CT"}}, "must be a list"),
        ({"all": [{}]}, "must be an object such as"),
        ({"Modality": {"equals": "CT"}}, "unknown key"),
        ({"Modality": {}}, "holds no condition"),
        ({"prefer": ["biggest"]}, "prefer"),
        ({"plane": "diagonal"}, "plane"),
        ({"Modality": None}, "must be a number"),
    ],
    ids=["number", "keyword", "regex", "no list", "empty", "key", "no condition", "prefer", "plane", "null"],
)
def test_what_is_no_rule(document, words):
    with pytest.raises(SpecError, match=words):
        parse_rules({"series": document}, "rule.json")


def test_a_rule_in_a_spec_survives_writing():
    rule = {
        "all": [{"Modality": "^MR$"}, {"ImageType": {"has": "ORIGINAL"}}, {"spacing": {"max": 2}}],
        "prefer": ["thinnest"],
    }
    spec = parse_spec({"input": {"series": {**rule, "instances": {"EchoNumbers": 1}}}}, "test")
    document = spec.to_dict()
    assert parse_spec(document, "again") == spec
    assert document["input"]["series"][0]["instances"] == {"EchoNumbers": 1.0}
    assert "series" not in parse_spec({}, "plain").to_dict()["input"]
    with pytest.raises(SpecError, match="one rule for each of 2 channels"):
        parse_spec({"input": {"channels": ["a", "b"], "series": rule}}, "test")
