"""Test-time augmentation: the network sees every window mirrored, too, and its logits are averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from itk_infer.errors import ConfigError
from itk_infer.model.backend import Logits, Windows

Forward = Callable[[Windows], Logits]


class Mirrored:
    """A forward function over all combinations of mirrored axes.

    Args:
        forward: The network.
        axes: Axes that may be mirrored: 0 (Z), 1 (Y), 2 (X).

    Raises:
        ConfigError: the model allows none.
    """

    def __init__(self, forward: Forward, axes: Sequence[int]) -> None:
        if not axes:
            raise ConfigError(
                "--tta: the model's spec allows no mirroring (window.mirror_axes is empty), because left is "
                "not right; list the axes there if the network was trained with mirroring"
            )
        self._forward = forward
        # In arrays (N, C, Z, Y, X).
        self.flips = [
            tuple(axis + 2 for axis in chosen)
            for count in range(len(axes) + 1)
            for chosen in combinations(sorted(axes), count)
        ]

    def __call__(self, windows: Windows) -> Logits:
        """Mean of the logits of all mirrorings, each turned back; float32."""
        seen = np.concatenate([np.flip(windows, axes) for axes in self.flips])
        answers = self._forward(seen)
        total = np.zeros((len(windows), *answers.shape[1:]), np.float32)
        for index, axes in enumerate(self.flips):
            part = answers[index * len(windows) : (index + 1) * len(windows)]
            total += np.flip(part, axes)
        total /= len(self.flips)
        return total
