"""The stored value of white, for models whose input is a fraction of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from itk_infer.errors import InputError


def unit_of(dtype: np.dtype[Any]) -> float:
    """The value of a type that represents 1.0: the maximum for unsigned integers; 1 for floats and one bit.

    Raises:
        InputError: the type is a signed integer, for which white is not defined.
    """
    if dtype.kind == "i":
        raise InputError(
            f"its values are signed integers ({dtype}), and the model takes shares of white; save them as "
            "unsigned integers, or describe their range in the model spec (input.values and input.intensity)"
        )
    return float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0
