"""Seconds that each stage of a case takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Clock:
    """Seconds by stage. Time spent `inside` a stage is not counted in the lap around it."""

    seconds: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)
    _inside: float = 0.0

    def lap(self, stage: str) -> None:
        """Add the time since the last lap to a stage."""
        now = time.perf_counter()
        self.seconds[stage] = now - self._last - self._inside
        self._last, self._inside = now, 0.0

    @contextmanager
    def inside(self, stage: str) -> Iterator[None]:
        """Add the time of the block to a stage, and not to the lap around it."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent
            self._inside += spent
