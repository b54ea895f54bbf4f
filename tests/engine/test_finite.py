"""NaN and infinity are never missed, and large finite values are no alarm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from itk_infer.engine.finite import all_finite


@given(arrays(np.float32, (2, 3, 5), elements=st.floats(width=32)))
def test_equals_a_look_at_every_value(values):
    assert all_finite(values) == np.isfinite(values).all()


@pytest.mark.parametrize("size", [1, 7, 64, 20_000])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rest", [0, 1e-45, 1, 3.4e38])
def test_one_bad_value_anywhere(size, bad, rest):
    values = np.full((2, size, 1, 1), rest, np.float32)
    assert all_finite(values)
    for where in {0, size // 2, size - 1}:
        values[1, where] = bad
        assert not all_finite(values)
        assert not all_finite(values[:, ::-1])
        values[1, where] = rest


def test_infinities_do_not_cancel():
    assert not all_finite(np.array([[np.inf, -np.inf]], np.float32))
