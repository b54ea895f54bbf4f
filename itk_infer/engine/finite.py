"""A check of logits for NaN and infinity in one pass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def all_finite(values: NDArray[np.float32]) -> bool:
    """Whether all values (C, ...) are finite; exact.

    A sum of squares that includes NaN or infinity is not finite, because squares cannot cancel. It takes
    one pass at the speed of memory. Squares of large finite values overflow as well, so where the sum is
    not finite, minimum and maximum are checked.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        for channel in values:
            flat = channel.reshape(-1)
            if np.isfinite(np.dot(flat, flat)):
                continue
            if not (np.isfinite(flat.min()) and np.isfinite(flat.max())):
                return False
    return True
