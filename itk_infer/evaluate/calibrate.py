"""Fits the expected Dice as a function of a score, with bounds, to cases with ground truth.

The cases are split at random into two halves. With one, Dice is fitted as a non-decreasing function of the score
(isotonic regression, by pooling adjacent violators: Ayer et al., Ann Math Stat 1955). With the other half, the
errors of that function are measured; their quantiles are bounds for a further case, with the given coverage, if
the cases are exchangeable (split conformal prediction: Lei et al., JASA 2018,
doi 10.1080/01621459.2017.1307116).

The score from which masks are accepted is determined separately, as a bound for each case does not limit the share
of failures among accepted cases. See `accept_from`.
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
    """A case with ground truth.

    Attributes:
        name: Name of the case.
        score: A quality score that needs no ground truth.
        dice: Mean Dice over its labels.
        volumes_ml: Volume of the mask in millilitres, by label name.
    """

    name: str
    score: float
    dice: float
    volumes_ml: Mapping[str, float]


def calibrate(
    cases: Sequence[ScoredCase],
    *,
    model: str,
    score: str,
    coverage: float = 0.9,
    limit: float = 0.8,
    failures: float = 0.05,
    confidence: float = 0.9,
) -> Calibration:
    """Make a calibration.

    Args:
        cases: At least `FEWEST_CASES`.
        model: `identity_digest` of the model that made the masks.
        score: Name of the score.
        coverage: Share of further cases for which each bound shall hold.
        limit: Smallest acceptable Dice.
        failures: Largest acceptable share of accepted cases with a smaller Dice.
        confidence: Probability with which that share is not exceeded.

    Raises:
        ConfigError: there are too few cases, in total or for this coverage.
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
        failures=failures,
        confidence=confidence,
        accept_from=accept_from(scores, dice < limit, failures, confidence),
        scores=tuple(knots.tolist()),
        dice=tuple(fitted.tolist()),
        below=max(0.0, conformal_quantile(residuals, coverage)),
        above=max(0.0, conformal_quantile(-residuals, coverage)),
        score_range=Range(float(scores.min()), float(scores.max())),
        volumes_ml={name: Range(min(values), max(values)) for name, values in volumes.items()},
    )


def accept_from(
    scores: NDArray[np.float64], failed: NDArray[np.bool_], failures: float, confidence: float
) -> float | None:
    """The lowest score from which at most a share `failures` of further cases fail, with the given `confidence`.

    The number of failures among the cases with a score of at least s is binomial. The hypothesis that more than
    the share `failures` of them fail is rejected for s if the observed number of failures, or fewer, would have a
    probability of at most 1 - `confidence` (the bound of Clopper and Pearson, Biometrika 1934, for selective
    prediction: Geifman and El-Yaniv, arXiv 1705.08500). Scores are tested in descending order up to the first that
    is not rejected, so no correction for multiple tests is needed (fixed sequence testing: Angelopoulos et al.,
    "Learn then Test", arXiv 2110.01052), provided that cases with a higher score do not fail more often.
    then Test", arXiv 2110.01052), as long as cases of a higher score do not fail more often.

    Args:
        scores: Scores of independent cases, (N,).
        failed: Whether each is a failure, (N,).
        failures: Largest acceptable share of failures.
        confidence: Probability with which it is not exceeded for the returned score.

    Returns:
        The score; None if no score meets the condition.
    """
    order = np.argsort(-scores, kind="stable")
    seen = np.cumsum(failed[order])
    lowest = None
    for count in range(fewest_accepted(failures, confidence), len(scores) + 1):
        score = float(scores[order[count - 1]])
        if count < len(scores) and scores[order[count]] == score:
            continue  # cases of equal score are accepted together
        if binomial_tail(int(seen[count - 1]), count, failures) > 1 - confidence:
            break
        lowest = score
    return lowest


def fewest_accepted(failures: float, confidence: float) -> int:
    """The smallest number of accepted cases, none of which fails, for which `accept_from` finds a score."""
    return math.ceil(round(math.log(1 - confidence) / math.log1p(-failures), 9))


def binomial_tail(most: int, trials: int, share: float) -> float:
    """The probability of at most `most` successes in `trials`, each with probability `share`."""
    terms = (
        math.lgamma(trials + 1)
        - math.lgamma(number + 1)
        - math.lgamma(trials - number + 1)
        + number * math.log(share)
        + (trials - number) * math.log1p(-share)
        for number in range(most + 1)
    )
    return math.fsum(map(math.exp, terms))


def fewest_errors(coverage: float) -> int:
    """The least number n of errors with a finite bound: ceil((n + 1) coverage) <= n."""
    return math.ceil(round(coverage / (1 - coverage), 9))


def conformal_quantile(errors: NDArray[np.float64], coverage: float) -> float:
    """The ceil((n + 1) coverage)-th smallest of n errors."""
    place = math.ceil(round((len(errors) + 1) * coverage, 9))
    return float(np.sort(errors)[place - 1])


def isotonic(scores: NDArray[np.float64], dice: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """The non-decreasing function with the least squared error.

    Returns:
        Distinct scores, ascending, and the values of the function at them.
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
