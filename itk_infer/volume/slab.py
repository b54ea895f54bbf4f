"""A decided slab: a range of planes for which everything is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LabelArray = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, slots=True)
class DecidedSlab:
    """Planes ``z0`` to ``z0 + dz`` of a case, in the model's orientation, on the case's own voxels.

    Attributes:
        z0: First plane along the model orientation's Z.
        labels: Label values, (dz, Y, X), uint8 or uint16.
        masks: One mask a label, (L, dz, Y, X), in the order of the label table; only for models whose
            labels may overlap (``decision: threshold``).
        logits: What the network answered, (C, dz, Y, X), only if somebody asked for it.
    """

    z0: int
    labels: LabelArray
    masks: NDArray[np.bool_] | None = None
    logits: NDArray[np.float16] | None = None
