"""A decided slab: the labels of a range of planes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LabelArray = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, slots=True)
class DecidedSlab:
    """Planes ``z0`` to ``z0 + dz`` of a case, in the model's orientation, at the case's native resolution.

    Attributes:
        z0: First plane along Z in the model's orientation.
        labels: Label values, (dz, Y, X), uint8 or uint16.
        masks: One mask per label, (L, dz, Y, X), in the order of the label table; only for models whose
            labels may overlap (``decision: threshold``).
        logits: Logits, (C, dz, Y, X), if an output needs them.
    """

    z0: int
    labels: LabelArray
    masks: NDArray[np.bool_] | None = None
    logits: NDArray[np.float16] | None = None
