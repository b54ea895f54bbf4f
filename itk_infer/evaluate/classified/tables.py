"""The table of an evaluation, and its summary on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from itk_infer._version import __version__
from itk_infer.evaluate.classified.scores import MEASURES, LabelScores, Measure
from itk_infer.files.cells import Cell


def definition_of(scores: Sequence[LabelScores]) -> str:
    """A description of how the intervals were computed."""
    counts = sorted({one.resamples for one in scores})
    words = " or ".join(f"{count:,}" for count in counts)
    return f"95 % interval by bootstrap over studies ({words} resamples, percentiles)"


def score_rows(scores: Sequence[LabelScores]) -> Iterator[Sequence[Cell]]:
    """Yield a header, then one row per level and label."""
    wanted = list(scores[0].at_specificity) if scores else []
    names = [*MEASURES, *(f"sensitivity_at_{value:g}" for value in wanted)]
    yield (
        *("level", "label", "count", "positives", "threshold"),
        *(f"{name}{end}" for name in names for end in ("", "_low_95", "_high_95")),
        *(f"threshold_at_{value:g}" for value in wanted),
        *("brier", "calibration_error", "true_positives", "false_positives", "false_negatives", "true_negatives"),
        *("resamples", "program"),
    )
    for one in scores:
        found = [*(one.measures[name] for name in MEASURES), *(one.at_specificity[value][0] for value in wanted)]
        yield (
            *(one.level, one.label, one.count, one.positives, one.threshold),
            *(_number(value) for item in found for value in (item.value, item.low, item.high)),
            *(_number(one.at_specificity[value][1]) for value in wanted),
            *map(_number, (one.brier, one.calibration_error)),
            *one.confusion,
            *(one.resamples, f"itk_infer {__version__}"),
        )


def score_lines(scores: Sequence[LabelScores]) -> list[str]:
    """The summary on the terminal, as lines."""
    width = max((len(one.label) for one in scores), default=0)
    lines = []
    for one in scores:
        true, false, missed, right = one.confusion
        parts = [f"AUC {_words(one.measures['auc'])}", f"AP {_words(one.measures['average_precision'])}"]
        parts += [f"sensitivity at {value:g}: {_words(found)}" for value, (found, _) in one.at_specificity.items()]
        parts.append(f"at {one.threshold:g}: {true} true, {false} false, {missed} missed, {right} right")
        lines.append(f"{one.label:<{width}}  per {one.level} ({one.positives} of {one.count}): {'; '.join(parts)}")
    return [*lines, definition_of(scores)]


def _words(found: Measure) -> str:
    if found.value is None:
        return "n/a"
    return f"{found.value:.3f}" + ("" if found.low is None else f" ({found.low:.3f} to {found.high:.3f})")


def _number(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
