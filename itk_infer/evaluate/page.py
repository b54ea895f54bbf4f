"""A self-contained HTML page of an evaluation: summary, plots, cases. All text is escaped; no scripts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from itk_infer._version import __version__
from itk_infer.evaluate.html import cell, page_head, table
from itk_infer.evaluate.plots import BoxRow, bland_altman, box_plot
from itk_infer.evaluate.scores import CaseScores
from itk_infer.evaluate.summary import LabelSummary, MetricSummary
from itk_infer.evaluate.tables import INTERVAL_WORDS

MOST_PLOTS = 40  # most plots of volumes
SHOWN = ("dice", "nsd", "hd95", "assd", "sensitivity", "precision", "volume_error_ml")
PLOTTED = {"dice": ("Dice", 1.0), "nsd": ("NSD", 1.0), "hd95": ("HD95, mm", None)}


def page_html(
    cases: Sequence[CaseScores],
    summaries: Sequence[LabelSummary],
    failed: dict[str, str],
    remarks: Sequence[str],
    definition: str,
) -> bytes:
    """Make the page.

    Args:
        cases: Cases, from `scores.completed`.
        summaries: Summaries of these cases.
        failed: Reason of failure by case name.
        remarks: Sentences about what was left out.
        definition: Definition of the distances.
    """
    parts = [
        page_head(f"Evaluation of {len(cases)} cases"),
        f"<p>Definition of distances: {escape(definition)}. Dice, IoU and NSD count a missed label or a ",
        "false alarm as 0; a label that is neither in the mask nor in the truth does not count. In brackets: ",
        f"{escape(INTERVAL_WORDS)}. Written by itk_infer {escape(__version__)}.</p>",
        *(f'<p class="w">{escape(remark)}</p>' for remark in remarks),
        "<h2>Labels</h2>",
        table(
            ("label", "found", "missed", "false alarms", "absent", *map(_title, SHOWN)),
            [_summary_row(label) for label in summaries],
        ),
    ]
    for metric, (title, top) in PLOTTED.items():
        rows = [_box_row(index, label, metric, cases) for index, label in enumerate(summaries)]
        parts += [f"<h2>{escape(title)}</h2>", box_plot(rows, title, top)]
    parts += ["<h2>Volumes, mask minus truth against their mean</h2>", '<div class="row">']
    for index, label in enumerate(summaries[:MOST_PLOTS]):
        there = [case.labels[index] for case in cases if case.labels[index].state != "absent"]
        if there:
            volumes = [item.truth_ml for item in there], [item.mask_ml for item in there]
            parts.append(bland_altman(*volumes, label.name))
    parts.append("</div>")
    if len(summaries) > MOST_PLOTS:
        parts.append(f"<p>Only the first {MOST_PLOTS} of {len(summaries)} labels are drawn.</p>")
    worst = sorted(cases, key=_order)
    header = ("case", "mean Dice", "worst label", "its Dice", "its HD95, mm", "missed", "false alarms", "notes")
    parts += ["<h2>Cases, the worst first</h2>", table(header, [_case_row(case) for case in worst])]
    if failed:
        reasons = [(cell(name), cell(reason, "t")) for name, reason in failed.items()]
        parts += ["<h2>Not compared</h2>", table(("case", "reason"), reasons)]
    return "".join([*parts, "</body></html>\n"]).encode("utf-8", "replace")


def _title(metric: str) -> str:
    return {"dice": "Dice", "nsd": "NSD", "hd95": "HD95, mm", "assd": "ASSD, mm"}.get(
        metric, {"volume_error_ml": "volume error, ml"}.get(metric, metric)
    )


def _summary_row(label: LabelSummary) -> list[str]:
    states = label.states
    row = [cell(label.name), cell(str(states["found"]))]
    row += [cell(str(states[key]), "w" if states[key] else "") for key in ("missed", "false alarm")]
    row.append(cell(str(states["absent"])))
    for name in SHOWN:
        metric = label.metric(name)
        small = [] if metric.low is None else [f"({metric.low:.3g} to {metric.high:.3g})"]
        small += _remarks(metric, label)
        row.append(f"<td>{_short(metric.mean)}{''.join(f'<small>{escape(text)}</small>' for text in small)}</td>")
    return row


def _remarks(metric: MetricSummary, label: LabelSummary) -> list[str]:
    if metric.metric == "nsd":
        return [f"at {label.tolerance_mm:g} mm"]
    if metric.count < metric.of and metric.penalised is not None:
        return [metric.words, f"{metric.penalised:.3g} with misses at the image diagonal"]
    return []


def _box_row(index: int, label: LabelSummary, metric: str, cases: Sequence[CaseScores]) -> BoxRow:
    values = [value for case in cases if (value := getattr(case.labels[index], metric)) is not None]
    finite = [value for value in values if math.isfinite(value)]
    return BoxRow(label.name, finite, len(values) - len(finite))


def _dices(case: CaseScores) -> list[float]:
    return [label.dice for label in case.labels if label.dice is not None]


def _order(case: CaseScores) -> tuple[float, str]:
    dices = _dices(case)
    return (sum(dices) / len(dices) if dices else math.inf), case.name


def _case_row(case: CaseScores) -> list[str]:
    dices = _dices(case)
    scored = [(label.dice, label) for label in case.labels if label.dice is not None]
    worst = min(scored, key=lambda pair: pair[0])[1] if scored else None
    named = [", ".join(x.name for x in case.labels if x.state == state) for state in ("missed", "false alarm")]
    return [
        cell(case.name),
        cell(_short(sum(dices) / len(dices) if dices else None)),
        cell(worst.name if worst else "", "t"),
        cell(_short(worst.dice if worst else None)),
        cell(_short(worst.hd95 if worst else None)),
        *(cell(text, "t w") for text in named),
        cell("; ".join(case.notes), "t"),
    ]


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
