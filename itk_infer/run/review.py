"""Which cases should be reviewed, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from itk_infer.case.doubts import LOW_CONFIDENCE

ENOUGH_CASES = 8  # quartiles of fewer cases are not meaningful


def review_reasons(results: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The reasons to review each case, as a text; empty for cases without.

    Reasons: nothing was found; a label is absent that most other cases have; the foreground
    confidence or the soft Dice of the worst label is below `LOW_CONFIDENCE`, or below the first quartile of
    the folder by more than 1.5 times the distance between the quartiles (Tukey's fence); the same holds for the
    agreement of the model's members; there are warnings about the case.

    Args:
        results: Measurements by case name, in the form of the ledger.
    """
    sure = [value for value in map(_confidence, results.values()) if value is not None]
    fence = _fence(sure)
    soft_fence = _fence([value for result in results.values() if (value := result.get("soft_dice")) is not None])
    usual = _usual_labels(list(results.values()))
    agreed = _fence([value for result in results.values() if (value := result.get("agreement")) is not None])
    return {
        name: "; ".join((*_reasons(result, fence, soft_fence, usual), *_disagreement(result, agreed)))
        for name, result in results.items()
    }


def missing_labels(results: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Labels that a case lacks but more than half of the cases have, by case; other cases are left out.

    Args:
        results: See `review_reasons`.
    """
    usual = _usual_labels(list(results.values()))
    lacking = {
        name: usual - {finding["name"] for finding in result["findings"] if finding["voxels"]}
        for name, result in results.items()
    }
    return {name: ", ".join(sorted(labels)) for name, labels in lacking.items() if labels}


def _reasons(result: Mapping[str, Any], fence: float, soft_fence: float, usual: set[str]) -> list[str]:
    found = {finding["name"] for finding in result["findings"] if finding["voxels"]}
    reasons = []
    if not found:
        reasons.append("nothing was found")
    elif usual - found:
        reasons.append(f"not found: {', '.join(sorted(usual - found))}")
    confidence = _confidence(result)
    if confidence is not None and confidence < LOW_CONFIDENCE:
        reasons.append("low confidence")
    elif confidence is not None and confidence < fence:
        reasons.append("confidence far below the other cases")
    soft, worst = result.get("soft_dice"), result.get("worst_label")
    if worst and soft is not None and soft < LOW_CONFIDENCE:
        reasons.append(f"low soft Dice of {worst}")
    elif worst and soft is not None and soft < soft_fence:
        reasons.append(f"soft Dice of {worst} far below the other cases")
    return [*reasons, *result.get("warnings", ())]


def _disagreement(result: Mapping[str, Any], fence: float) -> list[str]:
    """Reasons from the agreement of the model's members."""
    value, label = result.get("agreement"), result.get("least_agreed_label")
    if value is None or label is None:
        return []
    if value < LOW_CONFIDENCE:
        return [f"the members disagree about {label}"]
    return [f"the members agree about {label} far less than in the other cases"] if value < fence else []


def _confidence(result: Mapping[str, Any]) -> float | None:
    foreground: float | None = result["confidence_foreground"]
    overall: float | None = result["confidence"]
    return overall if foreground is None else foreground


def _fence(values: Sequence[float]) -> float:
    if len(values) < ENOUGH_CASES:
        return 0.0
    import statistics

    lower, _, upper = statistics.quantiles(values, n=4)
    return lower - 1.5 * (upper - lower)


def _usual_labels(results: Sequence[Mapping[str, Any]]) -> set[str]:
    """Labels that more than half of the cases have."""
    counts = Counter(finding["name"] for result in results for finding in result["findings"] if finding["voxels"])
    return {name for name, count in counts.items() if count > len(results) / 2}
