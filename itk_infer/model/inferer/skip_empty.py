"""Skip windows of air: the network runs once on a constant window, whose logits all such windows get."""

from __future__ import annotations

from collections.abc import Callable

from itk_infer.arrays import namespace, to_host
from itk_infer.model.backend import Logits, Windows

Forward = Callable[[Windows], Logits]


class EmptyWindowSkipper:
    """A forward function that runs the network only once for windows of the same constant value.

    Without `below` the result is unchanged, because equal windows have equal logits. With it, windows that nowhere
    exceed `below` count as empty, too, and get the logits of a window filled with the volume's lowest value, which
    is an approximation.

    Args:
        forward: The network.
        lowest: The padded volume's minimum, after the intensity steps.
        below: Largest value of an empty window, after the intensity steps; None: only constant windows are empty.

    Attributes:
        skipped: Windows that were not run.
    """

    def __init__(self, forward: Forward, lowest: float, below: float | None = None) -> None:
        self._forward = forward
        self._lowest = lowest
        self._below = below
        self._known: dict[float, Logits] = {}
        self.skipped = 0

    def __call__(self, windows: Windows) -> Logits:
        """Run the network; where some windows are empty, the others run one per call."""
        xp, within = namespace(windows), tuple(range(1, windows.ndim))
        extremes = zip(to_host(xp.min(windows, axis=within)), to_host(xp.max(windows, axis=within)), strict=True)
        empty = [self._value(float(low), float(high)) for low, high in extremes]
        if all(value is None for value in empty):
            return self._forward(windows)
        answers = [
            xp.astype(self._forward(window[None])[0], xp.float32, copy=True)
            if value is None
            else self._answer(window, value)
            for window, value in zip(windows, empty, strict=True)
        ]
        return xp.stack(answers)

    def _value(self, smallest: float, largest: float) -> float | None:
        """The value of the constant window whose logits an empty window gets; None if the window is not empty."""
        if self._below is not None and largest <= self._below:
            return self._lowest
        return largest if smallest == largest else None

    def _answer(self, window: Windows, value: float) -> Logits:
        xp = namespace(window)
        if value in self._known:
            self.skipped += 1
        else:
            self._known.clear()  # air has one value per volume: only the last one is kept
            answer = self._forward(xp.full_like(window, value)[None])[0]
            self._known[value] = xp.astype(answer, xp.float32, copy=True)
        return self._known[value]
