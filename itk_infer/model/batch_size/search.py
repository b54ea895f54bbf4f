"""The search for the batch size: calls with 1, 2, 4, 8, ... windows are timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from itk_infer.errors import InferenceError

MAX_BATCH = 64
LEAST_GAIN = 0.05  # share of the time per window; less does not justify twice the memory


@dataclass(frozen=True, slots=True)
class BatchSearchResult:
    """The result of a search.

    Attributes:
        batch: Windows per call.
        gain: Time per window with one window per call, divided by the time per window with `batch`.
    """

    batch: int
    gain: float


def find_batch(seconds_for: Callable[[int], float], fits: Callable[[int], bool]) -> BatchSearchResult:
    """Double the batch size as long as that reduces the time per window by `LEAST_GAIN`.

    Args:
        seconds_for: Times one call with this many windows, in seconds. Where it raises `InferenceError` or
            MemoryError, the batch size is too large, because memory ran out or the network fixes it.
        fits: Whether there is memory for this many windows per call; called before they are tried.

    Raises:
        InferenceError, MemoryError: one window alone failed.
    """
    single = least = seconds_for(1)
    best = 1
    while (batch := 2 * best) <= MAX_BATCH and fits(batch):
        try:
            each = seconds_for(batch) / batch
        except (InferenceError, MemoryError):
            break
        if each > (1 - LEAST_GAIN) * least:
            break
        best, least = batch, each
    return BatchSearchResult(best, single / least)


def largest_fitting(batch: int, fits: Callable[[int], bool]) -> int:
    """Halve `batch` until it fits; at least 1."""
    while batch > 1 and not fits(batch):
        batch //= 2
    return batch
