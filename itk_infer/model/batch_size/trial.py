"""Timing a network with so many windows a call."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from itk_infer.arrays import wait_for
from itk_infer.errors import InferenceError, OutOfMemoryError
from itk_infer.machine import HostMemory, host_memory
from itk_infer.model.backend import Logits, Windows

CALLS = 2  # timed, at least
SECONDS = 0.25  # and for at least so long
SHARE = 0.5  # of the spare memory that a call may be expected to take


class BatchTrial:
    """Seconds of a call with so many windows: once to warm up, which compiles, then the fastest of a few.

    A network's activations are not known before it ran. In host memory nobody is told that they do not
    fit: the system swaps, or kills. So each call is held against what the one before it took.

    Args:
        forward: The network.
        windows: Windows to run, (N, C, *patch); repeated where more are tried.
        clock: Seconds, from anywhere.
        memory: What the system tells; None: nothing.
    """

    def __init__(
        self,
        forward: Callable[[Windows], Logits],
        windows: Windows,
        *,
        clock: Callable[[], float] = time.perf_counter,
        memory: Callable[[], HostMemory | None] = host_memory,
    ) -> None:
        self._forward = forward
        self._windows = windows
        self._clock = clock
        self._memory = memory
        self._before = memory()
        self._each = 0.0  # bytes a window, at most

    def __call__(self, batch: int) -> float:
        """Seconds of a call with `batch` windows.

        Raises:
            OutOfMemoryError: they do not fit, or must be expected not to.
            InferenceError: the network failed, or did not answer every window.
        """
        found = self._memory()
        if found is not None and batch * self._each > SHARE * found.spare:
            raise OutOfMemoryError(f"{batch} windows a call would take more than is left of the memory")
        windows = self._windows[np.arange(batch) % len(self._windows)]
        answers = self._forward(windows)
        if len(answers) != batch:
            raise InferenceError(f"the network did not answer {batch} windows a call")
        wait_for(answers)
        self._note_memory(batch)
        fastest, spent, calls = float("inf"), 0.0, 0
        while calls < CALLS or spent < SECONDS:
            began = self._clock()
            wait_for(self._forward(windows))
            seconds = self._clock() - began
            fastest, spent, calls = min(fastest, seconds), spent + seconds, calls + 1
        return fastest

    def _note_memory(self, batch: int) -> None:
        """The network took no more than the process's peak is above where it began."""
        found = self._memory()
        if found is not None and self._before is not None:
            self._each = (found.peak - self._before.resident) / batch
