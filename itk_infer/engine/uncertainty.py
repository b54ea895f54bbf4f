"""Uncertainty of each voxel in one byte: 250 (1 - c), with the confidence c of `itk_infer.engine.confidence`.

For threshold models, c is the lowest confidence over the labels.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from itk_infer.arrays import Array, namespace, to_host
from itk_infer.engine.native import to_native
from itk_infer.engine.workspace import Slab
from itk_infer.volume.interpolation import ModelGrid

SCALE = 250  # value of a voxel where all classes are equally likely
PLANES = 8 * 2**20  # bytes of float32 values interpolated at a time


class UncertaintyMap:
    """Collects planes of uncertainty on the model's grid, in the memory in which they are computed.

    Args:
        model: How the model's grid and the case's native grid correspond.
    """

    def __init__(self, model: ModelGrid) -> None:
        self._model = model
        self._parts: list[Array] = []

    def add(self, sure: Array) -> None:
        """Add the next planes: confidences, (dz, Y, X), 0 to 1."""
        xp = namespace(sure)
        self._parts.append(xp.astype(SCALE + 0.5 - sure * SCALE, xp.uint8))

    def on_native_grid(self) -> NDArray[np.uint8]:
        """Return the map, (Z, Y, X), interpolated linearly to the native grid, in host memory; clears it."""
        parts = [to_host(part) for part in self._parts]
        self._parts.clear()
        if self._model.identity:
            return np.concatenate(parts)
        z, y, x = (axis.native for axis in self._model.axes)
        native = np.empty((z, y, x), np.uint8)
        for slab in to_native(_slabs(parts), self._model, PLANES):
            np.rint(slab.logits[0], out=slab.logits[0])
            native[slab.z0 : slab.z0 + slab.logits.shape[1]] = slab.logits[0]
        return native


def _slabs(parts: list[NDArray[np.uint8]]) -> Iterator[Slab]:
    z0 = 0
    for part in parts:
        yield Slab(z0, part[None].astype(np.float32))
        z0 += len(part)
