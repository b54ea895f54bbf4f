"""Whether logits are numbers, in one pass over them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def all_finite(values: NDArray[np.float32]) -> bool:
    """Whether nothing in (C, ...) is NaN or infinite, exactly.

    A sum of squares with NaN or infinity in it is not finite, whatever else is in it: squares cannot
    cancel. It is one pass at the speed of memory. Squares of large finite values overflow as well, so
    where the sum is not finite, minimum and maximum decide.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        for channel in values:
            flat = channel.reshape(-1)
            if np.isfinite(np.dot(flat, flat)):
                continue
            if not (np.isfinite(flat.min()) and np.isfinite(flat.max())):
                return False
    return True
