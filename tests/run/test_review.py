"""Reasons to look at a case: those about the members of a model."""

from __future__ import annotations

from itk_infer.run.review import review_reasons


def result(agreement, label="liver"):
    found = {"findings": [{"name": "liver", "voxels": 5}], "confidence": 0.9, "confidence_foreground": 0.9}
    return {**found, **({} if agreement is None else {"agreement": agreement, "least_agreed_label": label})}


def test_members_that_disagree_are_a_reason():
    found = review_reasons({"a": result(0.3), "b": result(0.9), "c": result(None)})
    assert found == {"a": "the members disagree about liver", "b": "", "c": ""}


def test_members_that_agree_far_less_than_elsewhere_are_a_reason():
    """By Tukey's fence: of 0.90 to 0.98 it lies at about 0.86."""
    results = {str(n): result(0.90 + n / 100) for n in range(9)} | {"odd": result(0.7)}
    found = review_reasons(results)
    assert found["odd"] == "the members agree about liver far less than in the other cases"
    assert set(found.values()) == {"", found["odd"]}


def test_where_no_member_found_anything_that_is_the_reason():
    nothing = {**result(0.0, None), "findings": [{"name": "liver", "voxels": 0}]}
    assert review_reasons({"a": nothing})["a"] == "nothing was found"
