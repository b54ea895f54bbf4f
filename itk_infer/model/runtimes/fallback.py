"""A second library for windows that the first cannot run."""

from __future__ import annotations

from collections.abc import Callable

from itk_infer.errors import InferenceError, OutOfMemoryError
from itk_infer.model.backend import Logits, Windows

Network = Callable[[Windows], Logits]


class WithFallback:
    """Runs the first network, and the second on windows of a shape that only the second can run.

    If the first never ran before, it is given up for good.

    Args:
        first: The faster one.
        open_second: Makes the other, when it is needed.
        on_fallback: Called once per shape with the first one's reason, the shape, and whether the first
            network has run windows of another shape.
    """

    def __init__(
        self,
        first: Network,
        open_second: Callable[[], Network],
        on_fallback: Callable[[str, tuple[int, ...], bool], None],
    ) -> None:
        self._first = first
        self._open_second = open_second
        self._second: Network | None = None
        self._on_fallback = on_fallback
        self._ran = self._given_up = False
        self._refused: set[tuple[int, ...]] = set()

    def __call__(self, windows: Windows) -> Logits:
        """Run the network.

        Raises:
            OutOfMemoryError: memory ran out; the other network is no remedy for that.
            InferenceError: neither can run these windows; the first one's reason.
        """
        if self._second is not None and (self._given_up or windows.shape in self._refused):
            return self._second(windows)
        try:
            answer = self._first(windows)
        except OutOfMemoryError:
            raise
        except InferenceError as error:
            return self._fall_back(windows, error)
        self._ran = True
        return answer

    def _fall_back(self, windows: Windows, error: InferenceError) -> Logits:
        self._second = self._second or self._open_second()
        try:
            answer = self._second(windows)
        except OutOfMemoryError:
            raise
        except InferenceError:
            raise error from None
        self._refused.add(windows.shape)
        self._given_up = not self._ran
        self._on_fallback(str(error), windows.shape, self._ran)
        return answer
