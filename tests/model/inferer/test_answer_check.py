"""A look at first answers: class numbers, probabilities, logits."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.errors import InferenceError
from itk_infer.model.backend import NetworkShape
from itk_infer.model.inferer.answer_check import ENOUGH, AnswerCheck
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.predictor import Predictor
from itk_infer.spec import OutputSpec, parse_spec

RNG = np.random.default_rng(5)
SIZE = (2, 3, 20, 40, 9)


def softmax(values):
    powers = np.exp(values)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


LOGITS = RNG.normal(size=SIZE).astype(np.float32) * 5
SOFTMAX = softmax(LOGITS)
SIGMOID = (1 / (1 + np.exp(-LOGITS))).astype(np.float32)
AIR = np.zeros(SIZE, np.float32)


def check(output, *answers):
    found = AnswerCheck(output)
    for answer in answers:
        found.look(answer)
    return found


@pytest.mark.parametrize("decision", ["argmax", "threshold"])
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_probabilities_that_are_taken_for_logits_are_noticed(decision, kind):
    output = OutputSpec(decision=decision)
    (warning,) = check(output, SOFTMAX.astype(kind)).warnings()
    assert "between 0 and 1, and the channels of each voxel sum to 1" in warning
    assert "set output.values to probabilities" in warning
    assert ("labels and confidence are wrong" in warning) == (decision == "threshold")
    (warning,) = check(output, SIGMOID[:, :1].astype(kind)).warnings()
    assert "sum to 1" not in warning


def test_what_the_spec_says_is_not_doubted_where_it_may_be_so():
    assert check(OutputSpec(), LOGITS).warnings() == []
    assert check(OutputSpec(values="probabilities"), SOFTMAX).warnings() == []
    assert check(OutputSpec(values="probabilities"), SIGMOID).warnings() == []


def test_one_answer_proves_logits_and_several_are_needed_for_probabilities():
    assert check(OutputSpec(), LOGITS).done
    assert not check(OutputSpec(), *[SIGMOID] * (ENOUGH - 1)).done
    assert check(OutputSpec(), *[SIGMOID] * ENOUGH).done
    assert check(OutputSpec(), SIGMOID, LOGITS).warnings() == []


def test_answers_to_air_prove_nothing():
    found = check(OutputSpec(), *[AIR] * 10)
    assert not found.done
    assert found.warnings() == []


def test_logits_that_are_taken_for_probabilities_are_noticed():
    (warning,) = check(OutputSpec(values="probabilities"), LOGITS).warnings()
    assert "set output.values to logits" in warning


@pytest.mark.parametrize("kind", [np.int64, np.float32, np.uint8])
def test_class_numbers_are_refused(kind):
    numbers = LOGITS.argmax(axis=1)[:, None].astype(kind)
    with pytest.raises(InferenceError, match="class numbers.*export it without the argmax"):
        check(OutputSpec(decision="threshold"), AIR[:, :1], numbers)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((LOGITS[:, :1] > 0).astype(np.float32), id="a mask"),
        pytest.param(np.round(LOGITS[:, :1]), id="rounded logits"),
        pytest.param(np.abs(np.round(LOGITS)), id="several channels"),
    ],
)
def test_other_whole_numbers_are_not_refused(answer):
    check(OutputSpec(decision="threshold"), answer)


def predictor(function, output, patch=(4, 5, 6)):
    document = {"spec": 1, "input": {"orientation": None}, "window": {"patch_size": patch}, "output": output}
    return Predictor(FakeBackend(function, parse_spec(document, "test"), NetworkShape()), orientation="input")


def test_a_case_says_it_once():
    segment = predictor(lambda x: 1 / (1 + np.exp(-x)), {"decision": "threshold"})
    image = sitk.GetImageFromArray(LOGITS[0, 0])
    (warning,) = segment(image).measurements.warnings
    assert "lie between 0 and 1" in warning
    assert segment(image).measurements.warnings == ()


def test_class_numbers_fail_every_case():
    segment = predictor(lambda x: np.clip(np.round(x), 0, 3), {"decision": "threshold"})
    image = sitk.GetImageFromArray(LOGITS[0, 0])
    for _ in range(2):
        with pytest.raises(InferenceError, match="class numbers"):
            segment(image)
