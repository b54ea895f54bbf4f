"""Learns the Dice to expect from a score, and how far it may be off, from cases with truth.

The cases are split in two by chance. With one half, Dice is fitted as a function of the score that never descends
(isotonic regression, by pooling adjacent violators: Ayer et al., Ann Math Stat 1955). With the other half, the
errors of that function are measured; their quantiles are bounds for a further case, with the given coverage, as
long as the cases are exchangeable (split conformal prediction: Lei et al., JASA 2018,
doi 10.1080/01621459.2017.1307116).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import ConfigError
from itk_infer.spec.calibration import FEWEST_CASES, Calibration, Range

SEED = 0


@dataclass(frozen=True, slots=True)
class ScoredCase:
    """A case with truth.

    Attributes:
        name: Of the case.
        score: What is known of it without truth.
        dice: Mean over its labels.
        volumes_ml: By label name, of the mask.
    """

    name: str
    score: float
    dice: float
    volumes_ml: Mapping[str, float]


def calibrate(
    cases: Sequence[ScoredCase], *, model: str, score: str, coverage: float = 0.9, limit: float = 0.8
) -> Calibration:
    """Make a calibration.

    Args:
        cases: At least `FEWEST_CASES`.
        model: `identity_digest` of what made the masks.
        score: Name of the score.
        coverage: Share of further cases that each bound is to hold for.
        limit: The least Dice that is good enough.

    Raises:
        ConfigError: there are too few cases, in all or for this coverage.
    """
    needed = max(FEWEST_CASES, 2 * fewest_errors(coverage))
    if len(cases) < needed:
        raise ConfigError(
            f"{len(cases)} cases are too few to calibrate: a bound that holds for {coverage:.0%} of cases needs "
            f"{needed} with truth"
        )
    ordered = sorted(cases, key=lambda case: case.name)
    order = np.random.default_rng(SEED).permutation(len(ordered))
    half = len(ordered) // 2
    scores, dice = (np.array([getattr(ordered[i], key) for i in order]) for key in ("score", "dice"))
    knots, fitted = isotonic(scores[half:], dice[half:])
    residuals = np.interp(scores[:half], knots, fitted) - dice[:half]
    names = sorted({name for case in ordered for name in case.volumes_ml})
    volumes = {name: [case.volumes_ml[name] for case in ordered if name in case.volumes_ml] for name in names}
    return Calibration(
        model=model,
        score=score,
        made=datetime.now(UTC).date().isoformat(),
        cases=len(ordered),
        coverage=coverage,
        limit=limit,
        scores=tuple(knots.tolist()),
        dice=tuple(fitted.tolist()),
        below=max(0.0, conformal_quantile(residuals, coverage)),
        above=max(0.0, conformal_quantile(-residuals, coverage)),
        score_range=Range(float(scores.min()), float(scores.max())),
        volumes_ml={name: Range(min(values), max(values)) for name, values in volumes.items()},
    )


def fewest_errors(coverage: float) -> int:
    """The least number n of errors with a finite bound: ceil((n + 1) coverage) <= n."""
    return math.ceil(round(coverage / (1 - coverage), 9))


def conformal_quantile(errors: NDArray[np.float64], coverage: float) -> float:
    """The ceil((n + 1) coverage)-th smallest of n errors."""
    place = math.ceil(round((len(errors) + 1) * coverage, 9))
    return float(np.sort(errors)[place - 1])


def isotonic(scores: NDArray[np.float64], dice: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """The function that never descends and has the least squared error.

    Returns:
        Distinct scores, ascending, and its values there.
    """
    knots, groups, counts = np.unique(scores, return_inverse=True, return_counts=True)
    means = np.bincount(groups, dice) / counts
    blocks: list[tuple[float, float, int]] = []  # mean, weight, number of knots
    for mean, weight in zip(means.tolist(), counts.tolist(), strict=True):
        block = (mean, float(weight), 1)
        while blocks and blocks[-1][0] >= block[0]:
            other = blocks.pop()
            total = other[1] + block[1]
            block = ((other[0] * other[1] + block[0] * block[1]) / total, total, other[2] + block[2])
        blocks.append(block)
    return knots, np.repeat([block[0] for block in blocks], [block[2] for block in blocks])
