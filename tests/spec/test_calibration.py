"""A calibration file: read back as it was written, and what it says of a case."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from itk_infer.errors import ConfigError
from itk_infer.spec.calibration import Calibration, Range, identity_digest, parse_calibration

MADE = Calibration(
    model=identity_digest({"model": "a", "inputs": ["1"]}),
    score="confidence_foreground",
    made="2026-01-01",
    cases=20,
    coverage=0.9,
    limit=0.8,
    failures=0.05,
    confidence=0.9,
    accept_from=0.85,
    scores=(0.5, 0.9),
    dice=(0.4, 0.9),
    below=0.05,
    above=0.1,
    score_range=Range(0.45, 0.95),
    volumes_ml={"liver": Range(10.0, 20.0)},
)


def judged(score=0.9, ml=15.0, model=MADE.model, reasons=(), **results):
    findings = [{"name": "liver", "volume_ml": ml}]
    return MADE.judge({"confidence_foreground": score, "findings": findings, **results}, model, reasons)


def test_it_is_read_back():
    assert parse_calibration(MADE.to_json(), "c.json") == MADE


@pytest.mark.parametrize(("score", "dice"), [(0.1, 0.4), (0.5, 0.4), (0.7, 0.65), (0.9, 0.9), (1.0, 0.9)], ids=str)
def test_dice_is_linear_between_scores_and_constant_beyond(score, dice):
    assert MADE.expected(score) == pytest.approx(dice)


def test_a_case_that_is_sure_enough_is_accepted():
    found = judged()
    assert (found.verdict, found.low, found.high) == ("accept", pytest.approx(0.85), 1.0)
    assert found.words == "accept: Dice 0.90 expected, 0.85 to 1.00"


def test_doubts_make_a_review():
    assert judged(0.8).words == "review: Dice 0.78 expected, 0.73 to 0.88; a Dice of 0.8 is not certain"
    assert judged(reasons=["low confidence"]).words.endswith("; low confidence")
    assert judged(ml=25.0).reasons == ("the volume of liver is outside of the calibrated range",)
    assert judged(0.96).reasons == ("confidence_foreground is outside of the calibrated range",)
    assert {judged(0.8).verdict, judged(ml=25.0).verdict, judged(0.96).verdict} == {"review"}


def test_where_nothing_can_be_promised_nothing_is_accepted():
    nothing = replace(MADE, accept_from=None)
    results = {"confidence_foreground": 0.9, "findings": [{"name": "liver", "volume_ml": 15.0}]}
    found = nothing.judge(results, MADE.model)
    assert (found.verdict, found.reasons) == ("review", ("this calibration accepts nothing",))
    assert parse_calibration(nothing.to_json(), "c.json") == nothing


def test_the_least_score_is_accepted():
    assert judged(0.85).verdict == "accept"  # though its lower bound is below the limit
    assert judged(0.8499).verdict == "review"


def test_what_cannot_be_good_is_rejected():
    assert judged(0.5).verdict == "reject"
    assert judged(0.5).reasons == ("a Dice of 0.8 is out of reach",)
    assert judged(ml=0.0).words == "reject: Dice 0.90 expected, 0.85 to 1.00; nothing was found"


def test_another_model_has_no_verdict():
    assert identity_digest({"model": "a", "inputs": ["2"]}) == MADE.model
    other = judged(model=identity_digest({"model": "b"}))
    assert (other.verdict, other.words) == (
        "",
        "no verdict: the calibration is of another model or other settings",
    )


@pytest.mark.parametrize("score", [None, "high", float("nan")], ids=["none", "text", "nan"])
def test_a_case_without_the_score_has_no_verdict(score):
    assert judged(score).words == "no verdict: it has no confidence_foreground"


def changed(**values):
    return json.dumps({**json.loads(MADE.to_json()), **values})


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{", id="no-json"),
        pytest.param("[]", id="list"),
        pytest.param(json.dumps({"spec": 1}), id="spec"),
        pytest.param(changed(scores=[]), id="empty"),
        pytest.param(changed(dice=[0.5]), id="lengths"),
        pytest.param(changed(below="much"), id="text"),
        pytest.param(changed(colour="red"), id="unknown"),
    ],
)
def test_other_files_are_refused(text):
    with pytest.raises(ConfigError, match=r"c\.json: is no calibration file"):
        parse_calibration(text, "c.json")


def test_newer_files_are_refused():
    with pytest.raises(ConfigError, match="of version 3; this program reads 2"):
        parse_calibration(changed(calibration=3), "c.json")
