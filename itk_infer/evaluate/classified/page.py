"""A self-contained HTML page of an evaluation: metrics, confusion tables, curves, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from itk_infer._version import __version__
from itk_infer.evaluate.classified.plots import calibration_plot, curve_plot
from itk_infer.evaluate.classified.scores import MEASURES, LabelScores, Measure
from itk_infer.evaluate.html import cell, page_head, table

MOST_LABELS = 40  # labels with plots, at most


def page_html(scores: Sequence[LabelScores], remarks: Sequence[str], model: str, definition: str) -> bytes:
    """Make the page.

    Args:
        scores: Scores of all labels, those of images first.
        remarks: Sentences about what was left out.
        model: Name of the model.
        definition: How the intervals were computed.
    """
    parts = [
        page_head(f"Evaluation of {model}"),
        f"<p>In brackets: {escape(definition)}. Written by itk_infer {escape(__version__)}.</p>",
        *(f'<p class="w">{escape(remark)}</p>' for remark in remarks),
    ]
    for level in dict.fromkeys(one.level for one in scores):
        of_level = [one for one in scores if one.level == level]
        wanted = list(of_level[0].at_specificity)
        header = ["label", level, "positive", *MEASURES.values(), "Brier score", "calibration error"]
        header += [f"sensitivity at {value:g}" for value in wanted]
        parts += [f"<h2>Per {escape(level)}</h2>", table(header, [_row(one) for one in of_level])]
        parts += ["<h3>At the threshold</h3>", table(CONFUSION, [_confusion(one) for one in of_level])]
        for one in of_level[:MOST_LABELS]:
            title = f"{one.label}, per {level}"
            parts.append('<div class="row">')
            if one.roc is not None and one.precisions is not None:
                roc = curve_plot(one.roc, title, ("1 - specificity", "sensitivity"), diagonal=True)
                parts += [roc, curve_plot(one.precisions, title, ("recall", "precision"))]
            parts += [calibration_plot(one.bins, title), "</div>"]
        if len(of_level) > MOST_LABELS:
            parts.append(f"<p>Only the first {MOST_LABELS} of {len(of_level)} labels are drawn.</p>")
    return "".join([*parts, "</body></html>\n"]).encode("utf-8", "replace")


CONFUSION = ("label", "threshold", "true positives", "false positives", "false negatives", "true negatives")


def _confusion(one: LabelScores) -> list[str]:
    return [cell(one.label), cell(f"{one.threshold:g}"), *(cell(str(count)) for count in one.confusion)]


def _row(one: LabelScores) -> list[str]:
    row = [cell(one.label), cell(str(one.count)), cell(str(one.positives))]
    row += [_measure(one.measures[name]) for name in MEASURES]
    row += [cell(_short(one.brier)), cell(_short(one.calibration_error))]
    for found, threshold in one.at_specificity.values():
        words = "" if threshold is None else f"from {threshold:.4g} on"
        row.append(_measure(found, words))
    return row


def _measure(found: Measure, more: str = "") -> str:
    small = [] if found.low is None else [f"({_short(found.low)} to {_short(found.high)})"]
    lines = "".join(f"<small>{escape(text)}</small>" for text in (*small, more) if text)
    return f"<td>{_short(found.value)}{lines}</td>"


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
