"""Saliency by occlusion, for any network: how far a logit decreases when a part of the picture is covered.

Zeiler and Fergus, arXiv 1311.2901. The parts are the cells of a grid, each of which takes a forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from itk_infer.model.saliency.explainer import Explanation

GRID: Final = 14
BATCH: Final = 28


class Occlusion:
    """Explains a network by forward passes only; see `Explainer`.

    Args:
        forward: (N, C, H, W) to at least N rows of logits, of which the first N are used.
        grid: Cells along rows and columns.
    """

    layer: str = ""
    methods: tuple[str, ...] = ("occlusion",)

    def __init__(self, forward: Callable[[NDArray[np.float32]], NDArray[np.floating]], grid: int = GRID) -> None:
        self._forward, self._grid = forward, grid
        self.how = f"occlusion of {grid} x {grid} cells"

    def explain(
        self, inputs: NDArray[np.float32], targets: NDArray[np.intp], methods: Sequence[str]
    ) -> Explanation:
        """See `Explainer.explain`. Cells are covered with the picture's mean of each channel."""
        logits = np.concatenate([self._forward(picture[None])[:1] for picture in inputs])
        maps = [
            self._map(picture, int(target), float(answer[target]))
            for picture, target, answer in zip(inputs, targets, logits, strict=True)
        ]
        return Explanation({"occlusion": np.stack(maps)}, logits)

    def _map(self, picture: NDArray[np.float32], target: int, logit: float) -> NDArray[np.float64]:
        grid = self._grid
        rows, columns = (np.linspace(0, side, grid + 1).round().astype(int) for side in picture.shape[1:])
        grey = picture.mean(axis=(1, 2))[:, None, None]
        covered = np.repeat(picture[None], grid * grid, axis=0)
        for cell in range(grid * grid):
            i, j = divmod(cell, grid)
            covered[cell, :, rows[i] : rows[i + 1], columns[j] : columns[j + 1]] = grey
        parts = [covered[first : first + BATCH] for first in range(0, len(covered), BATCH)]
        answers = np.concatenate([self._forward(part)[: len(part)] for part in parts])
        losses = logit - answers[:, target].astype(np.float64)
        return np.maximum(losses, 0.0).reshape(grid, grid)
