"""The comparison of answers, and the sizes that are compared."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itk_infer.model.export.parity import EXACT, compare, labels, made_windows
from itk_infer.model.export.sizes import compared_sizes, example_size
from itk_infer.model.kinds.fake import FakeBackend
from itk_infer.spec import parse_spec

SIZES = [(6, 7, 8)]


def two(function, document=None):
    spec = parse_spec(document or {}, "test")
    return FakeBackend(spec=spec), FakeBackend(function, spec)


def test_errors_and_agreement_are_measured():
    """One voxel of one of three windows is changed: in the call of three, and in a call of one."""

    def changed(windows):
        answers = np.concatenate([-windows, windows], axis=1)
        if windows[0, 0, 0, 0, 0] == made_windows(1, SIZES[0])[0, 0, 0, 0, 0]:
            answers[0, :, 0, 0, 0] = [9, -9] if answers[0, 1, 0, 0, 0] > 0 else [-9, 9]
        return answers

    result = compare(*two(changed), "fake", SIZES)
    first = abs(float(made_windows(1, SIZES[0])[0, 0, 0, 0, 0]))
    assert result.windows == 6
    assert result.error == pytest.approx(9 + first)
    assert result.agreement == pytest.approx(1 - 2 / (6 * 6 * 7 * 8))
    assert not result.within(EXACT)


@pytest.mark.parametrize(("shift", "passes"), [(5e-4, True), (2e-2, False)])
def test_the_bound_is_relative_to_the_largest_answer(shift, passes):
    result = compare(*two(lambda w: np.concatenate([-w, w], axis=1) + np.float32(shift)), "fake", SIZES)
    assert result.within(EXACT) == passes
    assert result.agreement == 1


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(lambda w: np.full((len(w), 2, *w.shape[2:]), np.nan, np.float32), id="nan"),
        pytest.param(lambda w: np.zeros((len(w), 3, *w.shape[2:]), np.float32), id="shape"),
    ],
)
def test_what_cannot_be_compared_does_not_pass(function):
    assert not compare(*two(function), "fake", SIZES).within(EXACT)


def test_what_is_decided():
    values = np.float32([[-2.0, 0.1, 3.0], [1.0, 0.2, -1.0]]).reshape(1, 2, 1, 1, 3)
    argmax = parse_spec({}, "t").output
    np.testing.assert_array_equal(labels(values, argmax).ravel(), [1, 1, 0])
    above = parse_spec({"output": {"decision": "threshold", "threshold": 0.6}}, "t").output
    expected = 1 / (1 + np.exp(-values.astype(np.float64))) > 0.6
    np.testing.assert_array_equal(labels(values, above), expected)
    shares = parse_spec(
        {"output": {"decision": "threshold", "threshold": 0.6, "values": "probabilities"}}, "t"
    ).output
    np.testing.assert_array_equal(labels(values, shares), values > 0.6)


MULTIPLES = st.tuples(*[st.sampled_from([1, 4, 16])] * 3)


@given(st.data(), MULTIPLES, st.booleans())
def test_free_sizes_differ_and_are_multiples(data, multiples, flat):
    patch = [data.draw(st.integers(1, 6)) * multiple for multiple in multiples]
    if flat:
        patch[0], multiples = 1, (1, *multiples[1:])
    given_patch = patch if data.draw(st.booleans()) else None
    document = {"window": {"patch_size": given_patch, "multiple_of": list(multiples)}}
    rule = parse_spec(document, "t").window
    example = example_size(rule, flat=flat, free=True)
    first = 1 if flat else 0
    for sizes in compared_sizes(example, rule, flat=flat, free=True):
        assert all(size % multiple == 0 for size, multiple in zip(sizes, multiples, strict=True))
        assert not flat or sizes[0] == 1
    assert len(set(example[first:])) == 3 - first
    if given_patch:
        fixed = example_size(rule, flat=flat, free=False)
        assert compared_sizes(fixed, rule, flat=flat, free=False) == [tuple(given_patch)]
