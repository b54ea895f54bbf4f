"""Run windows with a second library if the first cannot run them."""

from __future__ import annotations

from collections.abc import Callable

from itk_infer.errors import InferenceError, OutOfMemoryError
from itk_infer.model.backend import Logits, Windows

Network = Callable[[Windows], Logits]


class WithFallback:
    """Runs one network, or another one on windows of a shape that only the other can run.

    If the first has never run before, only the second is used from then on.

    Args:
        first: The faster network.
        open_second: Makes the other network, when it is needed; an InferenceError says why there is none.
        on_fallback: Called once per shape with the first network's error, the shape, and whether the first
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
            OutOfMemoryError: memory ran out, which the other network would not change.
            InferenceError: neither network can run these windows; the message is the first network's.
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
        try:
            self._second = self._second or self._open_second()
        except InferenceError as reason:
            raise InferenceError(f"{error}; {reason}") from None
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
