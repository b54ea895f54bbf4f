from __future__ import annotations

import json

import pytest

from itk_infer.errors import SpecError
from itk_infer.spec import parse_spec
from itk_infer.spec.known_codes import categories, known_codes
from itk_infer.spec.label_codes import FREE_TEXT, Code, is_snomed


def code_of(code):
    spec = parse_spec({"output": {"labels": [{"value": 1, "name": "a", "code": code}]}}, "test")
    return spec.output.labels[0].code


HIPPOCAMPUS = Code("5366008", "SCT", "Hippocampus")


@pytest.mark.parametrize("given", ["5366008", "SCT:5366008", "Hippocampus", " hippoCampus "])
def test_a_code_is_given_by_number_or_meaning(given):
    code = code_of(given)
    assert code.type == HIPPOCAMPUS
    assert code.category == Code("91723000", "SCT", "Anatomical Structure")
    assert (code.modifier, code.side, code.note) == (None, None, "")
    assert code_of({"type": given}) == code


def test_modifier_side_and_category():
    code = code_of({"type": "Kidney", "side": "right", "modifier": "255549009"})
    assert code.words == "Kidney (SCT 64033007), Anterior, Right"
    assert code_of("Neoplasm").category.meaning == "Morphologically Abnormal Structure"
    assert code_of({"type": "Neoplasm", "category": "Tissue", "side": None}).category.value == "85756007"


def test_free_text_is_kept_with_a_note_and_never_guessed():
    code = code_of({"type": "My tumour core"})
    assert (code.type.scheme, code.type.meaning, code.category.meaning) == (FREE_TEXT, "My tumour core", "Tissue")
    assert 1 < len(code.type.value) <= 16
    assert code.note == "its type 'My tumour core' is no known code, and is written as free text"
    assert "the table has 'Hippocampus'" in code_of("Hipocampus").note
    assert code.words == "My tumour core"
    assert "modifier 'sideways'" in code_of({"type": "Lung", "modifier": "sideways"}).note


def test_codes_beyond_the_table():
    code = code_of({"type": {"value": "64163001", "meaning": "Head of pancreas"}})
    assert code.type == Code("64163001", "SCT", "Head of pancreas")
    assert code.note == "its type SCT 64163001 is not in the table of codes, and was not checked"
    other = code_of({"value": "RID58", "scheme": "RADLEX", "meaning": "liver"})
    assert other.type == Code("RID58", "RADLEX", "liver")
    assert code_of({"value": "5366008"}).type == HIPPOCAMPUS


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("5366009", "5366009 is not in the table"),
        ({"value": "5366009", "meaning": "Hippocampus"}, "check digit"),
        ({"value": "5366008", "meaning": "Arachnoid"}, "5366008 means 'Hippocampus', not 'Arachnoid'"),
        ({"type": "Lung", "side": "lft"}, r"code\.side must be one of Left, Right"),
        ({"type": "Lung", "category": "organ"}, r"code\.category must be one of Anatomical Structure"),
        ({"side": "Left"}, "needs a type"),
        ({"type": "Lung", "sides": "Left"}, "did you mean .*side"),
        ({"type": "x" * 65}, "at most 64"),
        ({"value": "1", "scheme": "A\\B", "meaning": "x"}, "without a backslash"),
        ({"value": "RID58", "scheme": "RADLEX"}, "needs a meaning"),
        (5, "must be an object"),
    ],
)
def test_what_is_no_code_is_an_error_that_says_where(given, says):
    with pytest.raises(SpecError, match=says) as caught:
        code_of(given)
    assert "output.labels[0].code" in str(caught.value)


def test_a_spec_with_codes_is_read_back_and_one_without_has_none():
    labels = [
        {"value": 1, "name": "a", "code": {"type": "Lung", "side": "Left", "modifier": "odd one"}},
        {"value": 2, "name": "b"},
    ]
    spec = parse_spec({"output": {"labels": labels}}, "test")
    document = json.loads(json.dumps(spec.to_dict()))
    assert "code" not in document["output"]["labels"][1]
    assert parse_spec(document, "test") == spec


def test_every_code_is_in_the_dictionary_of_pydicom():
    """Which is made from the standard and from SNOMED CT by others."""
    concepts = pytest.importorskip("pydicom.sr._concepts_dict").concepts["SCT"]
    known = {(code, meaning[0]) for entry in concepts.values() for code, meaning in entry.items()}
    for role in ("category", "type", "modifier", "side"):
        assert known_codes(role).items() <= known, role
    assert set(categories().values()) <= known_codes("category").keys()
    assert len(known_codes("type")) == len(categories()) > 250


def test_the_check_digit_of_snomed_ct():
    """The examples of SNOMED International's guide to identifiers."""
    assert all(is_snomed(number) for number in ("74400008", "138875005", "101291009"))
    wrong = [str(number) for number in range(74400000, 74400010) if number != 74400008]
    assert not any(is_snomed(number) for number in (*wrong, "47400008"))
