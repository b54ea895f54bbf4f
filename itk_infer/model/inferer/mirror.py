"""Test-time augmentation: the network also runs on mirrored copies of every window; its outputs are averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

from itk_infer.arrays import namespace
from itk_infer.errors import ConfigError
from itk_infer.model.backend import Logits, Windows

Forward = Callable[[Windows], Logits]


class Mirrored:
    """A forward function that averages over all combinations of mirrored axes.

    Args:
        forward: The network.
        axes: Axes that may be mirrored: 0 (Z), 1 (Y), 2 (X).

    Raises:
        ConfigError: `axes` is empty, because the model does not allow mirroring.
    """

    def __init__(self, forward: Forward, axes: Sequence[int]) -> None:
        if not axes:
            raise ConfigError(
                "`tta`: the model's spec allows no mirroring (window.mirror_axes is empty), because left is "
                "not right; list the axes there if the network was trained with mirroring"
            )
        self._forward = forward
        # Axes of arrays (N, C, Z, Y, X).
        self.flips = [
            tuple(axis + 2 for axis in chosen)
            for count in range(len(axes) + 1)
            for chosen in combinations(sorted(axes), count)
        ]

    def __call__(self, windows: Windows) -> Logits:
        """Mean of the logits of all mirrored copies, each flipped back; float32."""
        xp = namespace(windows)
        answers = self._forward(xp.concat([_flipped(windows, axes) for axes in self.flips]))
        total = xp.zeros_like(answers[: len(windows)], dtype=xp.float32)
        for index, axes in enumerate(self.flips):
            total += _flipped(answers[index * len(windows) : (index + 1) * len(windows)], axes)
        total /= len(self.flips)
        return total


def _flipped(array: Windows, axes: tuple[int, ...]) -> Windows:
    return namespace(array).flip(array, axis=axes) if axes else array
