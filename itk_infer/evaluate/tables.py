"""The tables of an evaluation: per case and label, and per label and metric, with the definition of distances."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from itk_infer._version import __version__
from itk_infer.evaluate.scores import METRICS, CaseScores
from itk_infer.evaluate.summary import LabelSummary
from itk_infer.files.commit import write_bytes

INTERVAL_WORDS = "95 % interval by bootstrap over cases (2,000 resamples, percentiles)"


def cases_csv(cases: Sequence[CaseScores], definition: str) -> bytes:
    """One row per case and label. An empty cell is not applicable; ``inf`` means that mask or truth is empty."""
    lesions = any(label.lesions for case in cases for label in case.labels)
    header = ["case", "label", "state", *(f"{name}_mm" if METRICS[name][1] == "mm" else name for name in METRICS)]
    header += ["volume_error", "mask_ml", "truth_ml", "tolerance_mm", "mask_value", "truth_value", "matched_by"]
    header += ["lesions_truth", "lesions_mask", "lesions_matched"] if lesions else []
    rows = []
    for case in cases:
        for label in case.labels:
            row = [case.name, label.name, label.state, *(_number(getattr(label, name)) for name in METRICS)]
            row += [_number(v) for v in (label.volume_error, label.mask_ml, label.truth_ml, label.tolerance_mm)]
            row += [_text(label.mask_value), _text(label.truth_value), label.matched_by]
            counts = label.lesions
            row += ([_text(c) for c in (counts.truth, counts.mask, counts.matched)] if counts else [""] * 3)[
                : 3 * lesions
            ]
            rows.append([*row, "; ".join(case.notes), definition, f"itk_infer {__version__}"])
    return _csv([*header, "notes", "definition", "program"], rows)


def summary_csv(summaries: Sequence[LabelSummary], definition: str) -> bytes:
    """One row per label and metric."""
    header = ["label", "metric", "unit", "mean", "low_95", "high_95", "median", "cases_in_mean", "cases", "rule"]
    header += ["mean_with_misses_at_image_diagonal", "found", "missed", "false_alarms", "absent", "tolerance_mm"]
    rows = []
    for label in summaries:
        states = [_text(label.states[state]) for state in ("found", "missed", "false alarm", "absent")]
        for metric in label.metrics:
            title, unit = METRICS[metric.metric]
            row = [label.name, title, unit, *map(_number, (metric.mean, metric.low, metric.high, metric.median))]
            row += [_text(metric.count), _text(metric.of), metric.words, _number(metric.penalised), *states]
            rows.append([*row, _number(label.tolerance_mm), definition, INTERVAL_WORDS])
    return _csv([*header, "definition", "interval"], rows)


def summary_text(summaries: Sequence[LabelSummary], definition: str) -> list[str]:
    """The summary on the terminal, as lines."""
    width = max((len(label.name) for label in summaries), default=0)
    lines = []
    for label in summaries:
        dice, nsd, hd95 = (label.metric(name) for name in ("dice", "nsd", "hd95"))
        counts = ", ".join(f"{count} {state}" for state, count in label.states.items() if count)
        interval = "" if dice.low is None else f" ({dice.low:.3f} to {dice.high:.3f})"
        parts = [f"Dice {_short(dice.mean)}{interval}", f"NSD {_short(nsd.mean)} at {label.tolerance_mm:g} mm"]
        parts.append(f"HD95 {_short(hd95.mean, 2)} mm, {hd95.words}")
        if hd95.count < hd95.of:
            parts.append(f"{_short(hd95.penalised, 2)} with misses at the image diagonal")
        lines.append(f"{label.name:<{width}}  {'; '.join(parts)}; {counts}")
        if label.lesions is not None:
            truth, mask, matched = label.lesions
            lines.append(f"{'':<{width}}  lesions: {matched} of {truth} matched, {mask - matched} false")
    return [
        *lines,
        f"Dice and NSD count misses and false alarms as 0; {INTERVAL_WORDS}",
        f"surfaces: {definition}",
    ]


def write_table(path: Path, content: bytes) -> None:
    """Write a table; the file gets its final name when it is complete.

    Raises:
        OutputError: the file cannot be written.
    """
    write_bytes(content, path)


def _csv(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows([[_cell(value) for value in row] for row in rows])
    return text.getvalue().encode("utf-8", "replace")


def _cell(value: str) -> str:
    """A text that spreadsheets do not read as a formula; numbers are unchanged."""
    try:
        float(value)
    except ValueError:
        return f"'{value}" if value[:1] in ("=", "+", "-", "@") else value
    return value


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _text(value: int | None) -> str:
    return "" if value is None else str(value)


def _short(value: float | None, digits: int = 3) -> str:
    return "n/a" if value is None else f"{value:.{digits}f}"
