"""When memory runs out in the network: the same windows again, fewer a call."""

from __future__ import annotations

import re
from collections.abc import Callable

from itk_infer.arrays import namespace
from itk_infer.errors import InferenceError, OutOfMemoryError
from itk_infer.model.backend import Logits, Windows

# torch on CUDA and CPU, cuDNN without room to work in, cuBLAS; onnxruntime on CUDA and CPU; OpenVINO; C++.
_SIGNS = re.compile(
    r"out of memory|not enough memory|failed to allocate|BFCArena|bad[_ ]alloc|ALLOC_FAILED"
    r"|unable to find an engine",
    re.IGNORECASE,
)


def network_error(error: Exception, sentence: str) -> InferenceError:
    """What to raise for an exception of a network library: `OutOfMemoryError` if that is what it says."""
    ran_out = isinstance(error, MemoryError) or _SIGNS.search(f"{type(error).__name__}: {error}")
    return OutOfMemoryError(sentence) if ran_out else InferenceError(sentence)


class OutOfMemoryRetry:
    """Runs windows, as many a call as fit.

    Where memory runs out, half as many a call, down to one. No other failure is tried again.

    Args:
        run: (N, C, Z, Y, X) to logits; may reuse its memory.
        most: Windows a call that fit, if that is known already.
        fill: Whether calls with too few windows are filled up, because every new shape costs a compilation.
            What one window is, mirrored or not, runs alone.
        one: What one window is: the number of its mirrorings.

    Attributes:
        most: Windows a call that fit, once memory has run out; None if it never did.
    """

    def __init__(
        self, run: Callable[[Windows], Logits], most: int | None = None, *, fill: bool = False, one: int = 1
    ) -> None:
        self._run = run
        self._fill = fill
        self._one = one
        self._usual = 1
        self.most = most

    def __call__(self, windows: Windows) -> Logits:
        """Run all windows, in as many calls as it takes.

        Raises:
            OutOfMemoryError: one window alone does not fit.
        """
        xp = namespace(windows)
        self._usual = max(self._usual, len(windows))
        parts: list[Logits] = []
        done = 0
        while done < len(windows):
            size = min(self._usual, self.most or self._usual)
            chosen = windows[done : done + size]
            count = len(chosen)
            if self._fill and self._one < count < size:
                chosen = xp.concat([chosen, *[chosen[-1:]] * (size - count)])
            try:
                answer = self._run(chosen)[:count]
            except (OutOfMemoryError, MemoryError):
                if len(chosen) == 1:
                    raise
                self.most = len(chosen) // 2
                continue
            done += count
            if count == len(windows):
                return answer
            parts.append(xp.asarray(answer, copy=True))
        return xp.concat(parts)
