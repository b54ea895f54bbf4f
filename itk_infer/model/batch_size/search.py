"""How many windows a call: found by running real ones, one, two, four, eight, ... at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from itk_infer.errors import InferenceError

BatchChoice = int | Literal["auto"]

MOST = 64
LEAST_GAIN = 0.05  # of the time per window; for less, twice the memory is no bargain


@dataclass(frozen=True, slots=True)
class BatchSearchResult:
    """What a search found.

    Attributes:
        batch: Windows a call.
        gain: How many times as fast as one window a call.
    """

    batch: int
    gain: float


def find_batch(seconds_for: Callable[[int], float], fits: Callable[[int], bool]) -> BatchSearchResult:
    """Double the windows a call for as long as that makes each of them faster by `LEAST_GAIN`.

    Args:
        seconds_for: Seconds of one call with so many windows. Where it raises `InferenceError` or
            MemoryError, that many are too many: memory ran out, or the network takes no other number.
        fits: Whether there is memory for so many windows a call; asked before they are tried.

    Raises:
        InferenceError, MemoryError: one window alone failed.
    """
    one = least = seconds_for(1)
    best = 1
    while (batch := 2 * best) <= MOST and fits(batch):
        try:
            each = seconds_for(batch) / batch
        except (InferenceError, MemoryError):
            break
        if each > (1 - LEAST_GAIN) * least:
            break
        best, least = batch, each
    return BatchSearchResult(best, one / least)


def largest_fitting(batch: int, fits: Callable[[int], bool]) -> int:
    """`batch`, halved until it fits; at least 1."""
    while batch > 1 and not fits(batch):
        batch //= 2
    return batch
