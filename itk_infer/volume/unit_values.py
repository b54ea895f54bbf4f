"""Which stored value is white, for models that take shares of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from itk_infer.errors import InputError


def unit_of(dtype: np.dtype[Any]) -> float:
    """What 1.0 is in a type: the largest value of unsigned integers; 1 of floats and of one bit.

    Raises:
        InputError: signed integers have no white.
    """
    if dtype.kind == "i":
        raise InputError(
            f"its values are signed integers ({dtype}), and the model takes shares of white; save them as "
            "unsigned integers, or describe their range in the model spec (input.values and input.intensity)"
        )
    return float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0
