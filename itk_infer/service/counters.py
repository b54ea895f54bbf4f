"""Counters of a service since its start, for monitoring."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field

BOUNDS_S = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)


@dataclass(slots=True)
class Histogram:
    """A cumulative histogram: number of values up to each of `BOUNDS_S` (seconds), and in total."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    total: float = 0.0

    def add(self, value: float) -> None:
        """Add a value."""
        for index, bound in enumerate((*BOUNDS_S, float("inf"))):
            self.counts[index] += value <= bound
        self.total += value


class Counters:
    """Counters of a service; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages: dict[str, Histogram] = defaultdict(Histogram)
        self._received = 0

    def done(self, stages: dict[str, float], seconds: float) -> None:
        """Count a finished job: seconds per stage, and in total including the loading of the model."""
        with self._lock:
            for stage, value in {**stages, "job": seconds}.items():
                self._stages[stage].add(value)

    def received(self, nbytes: int) -> None:
        """Count the bytes of an upload."""
        with self._lock:
            self._received += nbytes

    def snapshot(self) -> tuple[int, dict[str, Histogram]]:
        """Number of bytes received, and a copy of the histograms by stage."""
        with self._lock:
            copies = {stage: Histogram(list(item.counts), item.total) for stage, item in self._stages.items()}
            return self._received, copies
