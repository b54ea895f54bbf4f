"""Rules that combine the probabilities of a study's images, one image at a time."""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Callable
from typing import Final, Protocol

from itk_infer.errors import ConfigError

RULES: Final = "max, mean, top3_mean (any number), noisy_or"


class Sum(Protocol):
    """Combines probabilities into one."""

    def add(self, value: float) -> None:
        """Add the probability of one image."""
        ...

    def result(self) -> float:
        """The combined probability; needs at least one image."""
        ...


class Largest:
    """The maximum: a study has a finding if one of its images shows it."""

    def __init__(self) -> None:
        self._value = -math.inf

    def add(self, value: float) -> None:
        """See `Sum.add`."""
        self._value = max(self._value, value)

    def result(self) -> float:
        """See `Sum.result`."""
        return self._value


class Mean:
    """The mean of all images."""

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def add(self, value: float) -> None:
        """See `Sum.add`."""
        self._sum += value
        self._count += 1

    def result(self) -> float:
        """See `Sum.result`."""
        return self._sum / self._count


class TopMean:
    """The mean of the `most` largest probabilities, or of all if there are fewer."""

    def __init__(self, most: int) -> None:
        self._most, self._values = most, list[float]()

    def add(self, value: float) -> None:
        """See `Sum.add`."""
        if len(self._values) < self._most:
            heapq.heappush(self._values, value)
        else:
            heapq.heappushpop(self._values, value)

    def result(self) -> float:
        """See `Sum.result`."""
        return sum(self._values) / len(self._values)


class NoisyOr:
    """Noisy-or, 1 - product of (1 - p): assumes independent images, and grows with their number."""

    def __init__(self) -> None:
        self._log = 0.0

    def add(self, value: float) -> None:
        """See `Sum.add`."""
        self._log += math.log1p(-value) if value < 1 else -math.inf

    def result(self) -> float:
        """See `Sum.result`."""
        return -math.expm1(self._log)


def study_rule(name: str) -> Callable[[], Sum]:
    """The class of the rule with this name.

    Raises:
        ConfigError: there is no rule of this name.
    """
    top = re.fullmatch(r"top([1-9][0-9]{0,5})_mean", name)
    if top:
        return lambda: TopMean(int(top[1]))
    known: dict[str, Callable[[], Sum]] = {"max": Largest, "mean": Mean, "noisy_or": NoisyOr}
    if name not in known:
        raise ConfigError(f"`study_rule={name}`: no such rule; there are {RULES}")
    return known[name]
