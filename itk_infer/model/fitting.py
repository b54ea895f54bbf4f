"""When memory runs out in the network: the same windows again, fewer a call."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from itk_infer.errors import InferenceError, OutOfMemory
from itk_infer.model.backend import Logits, Windows

# torch on CUDA and CPU; onnxruntime on CUDA and CPU; OpenVINO; C++.
_SIGNS = re.compile(r"out of memory|not enough memory|failed to allocate|BFCArena|bad[_ ]alloc", re.IGNORECASE)


def network_error(error: Exception, sentence: str) -> InferenceError:
    """What to raise for an exception of a network library: `OutOfMemory` if that is what it says."""
    ran_out = isinstance(error, MemoryError) or _SIGNS.search(f"{type(error).__name__}: {error}")
    return OutOfMemory(sentence) if ran_out else InferenceError(sentence)


class FittingBatch:
    """Runs windows; where memory runs out, half as many a call, down to one. No other failure is tried again.

    Args:
        run: (N, C, Z, Y, X) to logits; may reuse its memory.

    Attributes:
        most: Windows a call that fit, once memory has run out; None if it never did.
    """

    def __init__(self, run: Callable[[Windows], Logits]) -> None:
        self._run = run
        self.most: int | None = None

    def __call__(self, windows: Windows) -> Logits:
        """Run all windows, in as many calls as it takes.

        Raises:
            OutOfMemory: one window alone does not fit.
        """
        parts: list[Logits] = []
        done = 0
        while done < len(windows):
            count = min(self.most or len(windows), len(windows) - done)
            try:
                answer = self._run(windows[done : done + count])
            except (OutOfMemory, MemoryError):
                if count == 1:
                    raise
                self.most = count // 2
                continue
            done += count
            if count == len(windows):
                return answer
            parts.append(answer.copy())
        return np.concatenate(parts)
