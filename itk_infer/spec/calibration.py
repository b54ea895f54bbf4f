"""A calibration file: from a score that needs no truth to the Dice to expect, with a bound, for one model.

Pure data. It is made by ``itk_infer calibrate`` and used by the tables of a folder.
"""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from itk_infer.errors import ConfigError

VERSION = 2
FEWEST_CASES = 20
Verdict = Literal["accept", "review", "reject", ""]


@dataclass(frozen=True, slots=True)
class Range:
    """The smallest and largest value among the cases of a calibration."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value lies within."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Calibration:
    """The relation of a score to the Dice, from cases with truth.

    Attributes:
        model: Digest of the model and all settings that change its masks, see `identity_digest`.
        score: Name of the score, a key of a case's results in the ledger.
        made: Date of calibration, ISO 8601.
        cases: Number of cases.
        coverage: Share of cases whose Dice a bound is meant to hold for.
        limit: The least Dice that is good enough; a case below it is a failure.
        failures: Largest share of accepted cases that fail ...
        confidence: ... with this probability.
        accept_from: Lowest accepted score; None if no score meets the condition.
        scores: Scores at which `dice` is given, ascending.
        dice: Expected mean Dice at these scores, not decreasing.
        below: Largest difference of a case's Dice below the expected one, with `coverage`.
        above: Largest difference above, likewise.
        score_range: Range of the score among the cases.
        volumes_ml: Range of volumes in millilitres, by label name.
    """

    model: str
    score: str
    made: str
    cases: int
    coverage: float
    limit: float
    failures: float
    confidence: float
    accept_from: float | None
    scores: tuple[float, ...]
    dice: tuple[float, ...]
    below: float
    above: float
    score_range: Range
    volumes_ml: Mapping[str, Range]

    def expected(self, score: float) -> float:
        """The Dice to expect, linear between the given scores."""
        place = bisect_right(self.scores, score)
        if place == 0:
            return self.dice[0]
        if place == len(self.scores):
            return self.dice[-1]
        left, right = self.scores[place - 1], self.scores[place]
        part = (score - left) / (right - left)
        return self.dice[place - 1] + part * (self.dice[place] - self.dice[place - 1])

    def judge(self, results: Mapping[str, Any], model: str, reasons: Sequence[str] = ()) -> Judgement:
        """The verdict on a case.

        Args:
            results: Results of the case, as the ledger holds them.
            model: `identity_digest` of what made its mask.
            reasons: Why the case is to be reviewed whatever its Dice; such a case is never accepted.
        """
        score = results.get(self.score)
        if model != self.model:
            return Judgement("", None, None, None, ("the calibration is of another model or other settings",))
        if not isinstance(score, int | float) or not math.isfinite(score):
            return Judgement("", None, None, None, (f"it has no {self.score}",))
        dice = self.expected(score)
        low, high = max(0.0, dice - self.below), min(1.0, dice + self.above)
        volumes = {finding["name"]: finding["volume_ml"] for finding in results["findings"]}
        if not any(volumes.values()):
            return Judgement("reject", dice, low, high, ("nothing was found",))
        if high < self.limit:
            return Judgement("reject", dice, low, high, (f"a Dice of {self.limit:g} is out of reach",))
        outside = [
            f"the volume of {name} is outside of the calibrated range"
            for name, volume in volumes.items()
            if name in self.volumes_ml and not self.volumes_ml[name].holds(volume)
        ]
        if not self.score_range.holds(score):
            outside.insert(0, f"{self.score} is outside of the calibrated range")
        doubts = (*reasons, *outside)
        if self.accept_from is None:
            doubts = ("this calibration accepts nothing", *doubts)
        elif score < self.accept_from:
            doubts = (f"a Dice of {self.limit:g} is not certain", *doubts)
        return Judgement("review" if doubts else "accept", dice, low, high, doubts)

    def to_json(self) -> str:
        """The file's content."""
        document = {"calibration": VERSION, **asdict(self)}
        return json.dumps(document, indent=1) + "\n"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict of a calibration on a case.

    Attributes:
        verdict: Empty where there is none, for the reasons given.
        dice: Expected Dice; None without a verdict.
        low: Lower bound of the Dice; None without a verdict.
        high: Upper bound of the Dice; None without a verdict.
        reasons: Why the case is not accepted.
    """

    verdict: Verdict
    dice: float | None
    low: float | None
    high: float | None
    reasons: tuple[str, ...]

    @property
    def words(self) -> str:
        """The verdict as a phrase for tables."""
        if self.dice is None or self.low is None or self.high is None:
            return f"no verdict: {'; '.join(self.reasons)}"
        bounds = f"Dice {self.dice:.2f} expected, {self.low:.2f} to {self.high:.2f}"
        return "; ".join((f"{self.verdict}: {bounds}", *self.reasons))


def identity_digest(identity: Mapping[str, Any]) -> str:
    """Digest of what made a mask, without the image: model, spec, settings, engine."""
    content = {key: value for key, value in identity.items() if key != "inputs"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def parse_calibration(text: str, source: str) -> Calibration:
    """Read a calibration file.

    Args:
        text: Content of the file.
        source: Name in messages.

    Raises:
        ConfigError: it is not a calibration file, or one of another version.
    """
    try:
        document = json.loads(text)
        version = document.pop("calibration")
        if version != VERSION:
            raise ConfigError(f"{source}: is a calibration of version {version!r}; this program reads {VERSION}")
        ranges = {name: Range(**values) for name, values in document.pop("volumes_ml").items()}
        score_range = Range(**document.pop("score_range"))
        curve = tuple(map(float, document.pop("scores"))), tuple(map(float, document.pop("dice")))
        if not curve[0] or len(curve[0]) != len(curve[1]):
            raise ValueError("scores and dice differ in length")
        whole = Calibration(**document, scores=curve[0], dice=curve[1], score_range=score_range, volumes_ml=ranges)
        float(whole.below + whole.above + whole.limit + whole.failures + whole.confidence)
        float(whole.accept_from or 0)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"{source}: is no calibration file ({type(error).__name__}: {error}); itk_infer calibrate makes one"
        ) from error
    return whole
