"""Retry when memory runs out in the network: the same windows again, with fewer per call."""

from __future__ import annotations

import re
from collections.abc import Callable

from itk_infer.arrays import namespace
from itk_infer.errors import InferenceError, OutOfMemoryError
from itk_infer.model.backend import Logits, Windows

# Messages of torch on CUDA and CPU, cuDNN without workspace, cuBLAS; onnxruntime on CUDA and CPU; OpenVINO; C++.
_SIGNS = re.compile(
    r"out of memory|not enough memory|failed to allocate|BFCArena|bad[_ ]alloc|ALLOC_FAILED"
    r"|unable to find an engine",
    re.IGNORECASE,
)


def network_error(error: Exception, sentence: str) -> InferenceError:
    """The error to raise for an exception of a network library: `OutOfMemoryError` if it is about memory."""
    ran_out = isinstance(error, MemoryError) or _SIGNS.search(f"{type(error).__name__}: {error}")
    return OutOfMemoryError(sentence) if ran_out else InferenceError(sentence)


class OutOfMemoryRetry:
    """Runs windows in calls that fit in memory.

    Each time memory runs out, the number of windows per call is halved, down to 1. Other errors are not retried.

    Args:
        run: Takes windows (N, C, Z, Y, X), returns logits, whose memory it may reuse.
        max_batch: Network inputs per call that fit, if that is known already.
        fill: Whether smaller calls are filled up by repeating a window, because every new shape is compiled. Calls
            with a single window and its mirrored copies are not filled up.
        copies_per_window: Network inputs per window (1, or the number of mirrored copies).

    Attributes:
        max_batch: Network inputs per call that fit, after memory has run out; None if it never did.
    """

    def __init__(
        self,
        run: Callable[[Windows], Logits],
        max_batch: int | None = None,
        *,
        fill: bool = False,
        copies_per_window: int = 1,
    ) -> None:
        self._run = run
        self._fill = fill
        self._copies_per_window = copies_per_window
        self._usual = 1  # the largest number of windows passed to a call of this object so far
        self.max_batch = max_batch

    def __call__(self, windows: Windows) -> Logits:
        """Run all windows, in as many calls as are needed.

        Raises:
            OutOfMemoryError: memory runs out with a single window.
        """
        xp = namespace(windows)
        self._usual = max(self._usual, len(windows))
        parts: list[Logits] = []
        done = 0
        while done < len(windows):
            size = min(self._usual, self.max_batch or self._usual)
            chosen = windows[done : done + size]
            count = len(chosen)
            if self._fill and self._copies_per_window < count < size:
                chosen = xp.concat([chosen, *[chosen[-1:]] * (size - count)])
            try:
                answer = self._run(chosen)[:count]
            except (OutOfMemoryError, MemoryError):
                if len(chosen) == 1:
                    raise
                self.max_batch = len(chosen) // 2
                continue
            done += count
            if count == len(windows):
                return answer
            parts.append(xp.asarray(answer, copy=True))
        return xp.concat(parts)
