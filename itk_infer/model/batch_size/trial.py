"""Timing of a network with a given number of windows per call."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from itk_infer.arrays import wait_for
from itk_infer.errors import InferenceError, OutOfMemoryError
from itk_infer.machine import HostMemory, host_memory
from itk_infer.model.backend import Logits, Windows

CALLS = 2  # minimum number of timed calls
SECONDS = 0.25  # minimum total time of the timed calls
SHARE = 0.5  # share of the free memory; calls that are predicted to need more are not tried


class BatchTrial:
    """Times a call with a given number of windows: one call to warm up (and compile), then the fastest of a few.

    The memory of a network's activations is known only after a call. In host memory an allocation that is too
    large does not fail: the system swaps or kills the process. So each call's memory is predicted from the last.

    Args:
        forward: The network.
        windows: Windows to run, (N, C, *patch); repeated where larger batches are tried.
        clock: Time in seconds, from any origin.
        memory: Memory of this process and of the system; returns None where it is not known.
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
        self._bytes_per_window = 0.0  # upper bound

    def __call__(self, batch: int) -> float:
        """Time a call with `batch` windows, in seconds.

        Raises:
            OutOfMemoryError: memory ran out, or is predicted to run out.
            InferenceError: the network failed, or did not return logits for every window.
        """
        before = self._memory()
        if before is not None and batch * self._bytes_per_window > SHARE * before.spare:
            raise OutOfMemoryError(f"{batch} windows per call would take more memory than is free")
        windows = self._windows[np.arange(batch) % len(self._windows)]
        answers = self._forward(windows)
        if len(answers) != batch:
            raise InferenceError(f"the network did not return one output for each of {batch} windows per call")
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
        """Bound the memory per window by the growth of the process's peak since this trial was made."""
        now = self._memory()
        if now is not None and self._before is not None:
            self._bytes_per_window = (now.peak - self._before.resident) / batch
