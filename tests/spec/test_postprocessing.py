from __future__ import annotations

import pytest

from itk_infer.errors import SpecError
from itk_infer.spec import Label, parse_spec
from itk_infer.spec.parse_rules import parse_rules
from itk_infer.spec.postprocessing import (
    Close,
    Custom,
    FillHoles,
    Inside,
    KeepLargest,
    MinSize,
    Open,
    check_labels,
    labels_of,
    plain_rules,
)

DOCUMENT = [
    {"op": "keep_largest", "labels": ["liver", 2], "count": 2, "group": True, "connectivity": 6},
    {"op": "min_size", "ml": 0.5},
    {"op": "fill_holes", "mode": "axial", "labels": "liver"},
    {"op": "open", "mm": 2},
    {"op": "close", "mm": 1.5},
    {"op": "inside", "labels": ["lesion"], "of": ["liver", "lesion"], "margin_mm": 5},
    {"op": "custom", "function": "package.module:tidy", "settings": {"b": [1], "a": 2}},
]
RULES = (
    KeepLargest(("liver", 2), 2, True, 6),
    MinSize(0.5),
    FillHoles(("liver",), "axial"),
    Open(2.0),
    Close(1.5),
    Inside(("liver", "lesion"), ("lesion",), 5.0),
    Custom("package.module:tidy", (("a", 2), ("b", [1]))),
)
TABLE = [Label(1, "liver", "#000000", 1), Label(2, "spleen", "#000000", 2)]


def test_every_rule():
    assert parse_rules(DOCUMENT, "rules.json") == RULES
    assert parse_rules({"postprocessing": DOCUMENT}, "rules.json") == RULES
    assert parse_rules(plain_rules(RULES), "rules.json") == RULES
    assert KeepLargest().connectivity == 26


def test_in_a_spec():
    spec = parse_spec({"output": {"postprocessing": DOCUMENT}}, "spec")
    assert spec.output.postprocessing == RULES
    assert parse_spec(spec.to_dict(), "again") == spec
    assert "postprocessing" not in parse_spec({}, "spec").to_dict()["output"]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"ml": 1}, r"rules\[0\] must be an object with an 'op'"),
        ({"op": "shrink"}, r"rules\[0\]\.op must be keep_largest or min_size or"),
        ({"op": "min_size"}, "min_size needs ml"),
        ({"op": "min_size", "ml": 0}, "ml must be above 0"),
        ({"op": "open", "mm": "2"}, "mm must be a number"),
        ({"op": "open", "mm": 2, "lables": []}, r"unknown key rules\[0\]\.lables; did you mean labels"),
        ({"op": "keep_largest", "count": 0}, "count must be 1 or more"),
        ({"op": "keep_largest", "connectivity": 8}, "connectivity must be 6, 18 or 26"),
        ({"op": "keep_largest", "labels": [True]}, "names or values of labels"),
        ({"op": "keep_largest", "labels": {"a": 1}}, "labels must be a list"),
        ({"op": "fill_holes", "mode": "2d"}, "mode must be 3d or axial or coronal or sagittal"),
        ({"op": "inside", "labels": ["a"]}, "inside needs of"),
        ({"op": "inside", "of": ["a"]}, "inside needs labels"),
        ({"op": "inside", "labels": ["a"], "of": ["b"], "margin_mm": -1}, "margin_mm must be 0 or more"),
        ({"op": "custom"}, "custom needs function"),
        ({"op": "custom", "function": "rm -rf"}, "must look like 'module:function'"),
        ({"op": "custom", "function": "a:b", "settings": [1]}, "settings must be an object"),
    ],
)
def test_refused(rule, message):
    with pytest.raises(SpecError, match=f"^rules.json: .*{message}"):
        parse_rules([rule], "rules.json")


def test_labels_by_name_and_value():
    assert labels_of((), TABLE, "rule") == tuple(TABLE)
    assert labels_of((2, "liver"), TABLE, "rule") == tuple(TABLE)
    assert [label.name for label in labels_of(("spleen",), TABLE, "rule")] == ["spleen"]
    with pytest.raises(
        SpecError, match=r"rule 2 \(min_size\): there is no label 3; there are 1 .liver., 2 .spleen."
    ):
        check_labels([Open(1.0), MinSize(1.0, (3,))], TABLE)
    with pytest.raises(SpecError, match="no label 'kidney'"):
        check_labels([Inside(("kidney",), ("liver",))], TABLE)
