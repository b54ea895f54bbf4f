"""``report.html``: a single page with all its resources, which makes no requests to other hosts.

It is a table with static rows, to which JavaScript adds filters, keys and decisions. Its content security policy
allows only the script and the style of this package, by their digests.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from itk_infer.outputs.tables.report.charts import histogram, stacked_bar
from itk_infer.outputs.tables.report.entry import Entry
from itk_infer.outputs.tables.report.pictures import are_inside, data_uri
from itk_infer.outputs.tables.report.summary import Summary
from itk_infer.outputs.tables.table import CaseRow, FolderView
from itk_infer.volume.names import printable

LAYOUT = 2  # increased when the page changes, so that older pages are written again
MAX_VOLUMES = 12  # per case; all are in report.csv
MAX_OPEN_CHARTS = 12  # labels; more are folded in


def page_of(entries: Sequence[Entry], view: FolderView, summary: Summary) -> bytes:
    """Make the page, UTF-8.

    Args:
        entries: The cases, in the order of the page.
        view: Folder, label tables, failed cases.
        summary: Summary of these cases.
    """
    inside = are_inside(list(entries))
    style, script = _asset("page.css"), _asset("page.js")
    sources = "data:" if inside else "'self' file:"
    policy = (
        f"default-src 'none'; img-src {sources}; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    folder = (view.folder or Path()).absolute()
    title = printable(folder.name)
    rows = "\n".join(_row(number, entry, view.folder, inside) for number, entry in enumerate(entries, 1))
    page = f"""<!DOCTYPE html>
<html lang="en" data-report="{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}">
<head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<title>{escape(title)}: review</title>
<style>{style}</style></head>
<body>
<h1>{escape(title)}</h1>
{"".join(_summary(summary, view))}
<div id="tools" hidden></div>
<table id="cases"><thead><tr>
<th>picture</th><th>case and reason</th><th>certainty</th><th>decision</th></tr></thead>
<tbody>
{rows}
</tbody></table>
<div id="bar" hidden></div>
<script>{script}</script>
</body></html>
"""
    return page.encode("utf-8", "backslashreplace")


def _asset(name: str) -> str:
    return (files("itk_infer.outputs.tables.report") / name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _row(number: int, entry: Entry, folder: Path | None, inside: bool) -> str:
    row, facts = entry.row, entry.facts
    data = {
        "case": row.file,
        "mask": row.mask,
        "sha256": facts.sha256,
        "verdict": facts.verdict,
        "who": facts.who,
        "when": facts.time,
        "note": facts.note,
        "doubt": "yes" if row.review else "",
    }
    attributes = " ".join(f'data-{name}="{escape(value)}"' for name, value in data.items() if value)
    certainty = "" if entry.certainty is None else f"{entry.certainty:.3f}"
    reason = f'<p class="reason">{escape(printable(row.review))}</p>' if row.review else ""
    judged = f'<p class="judged">{_judged(entry.row)}</p>' if row.word or row.agreement is not None else ""
    note = f'<p class="note">{escape(facts.note)}</p>'
    return (
        f'<tr id="c{number}" {attributes}><td class="picture">{_picture(entry, folder, inside)}</td>'
        f'<td class="about"><b>{escape(printable(row.file))}</b>{judged}{reason}'
        f'<p class="volumes">{_volumes(entry)}</p></td>'
        f'<td class="certainty">{certainty}</td>'
        f'<td class="decision"><span class="verdict">{facts.verdict}</span>{note}</td></tr>'
    )


def _judged(row: CaseRow) -> str:
    """The verdict in one word, the calibration's text, and the agreement of the members."""
    word, _, rest = row.verdict.partition(":")
    rest = rest if word == row.word else row.verdict
    parts = [rest.strip()] if rest else []
    if row.agreement is not None:
        parts.append(f"agreement of the members {row.agreement:.2f}")
    chip = f'<span class="word {row.word.replace(" ", "-")}">{row.word}</span> ' if row.word else ""
    return chip + escape(printable("; ".join(parts)))


def _picture(entry: Entry, folder: Path | None, inside: bool) -> str:
    if not entry.facts.picture or folder is None:
        return ""
    target = quote(os.fsencode(entry.facts.picture))
    source = data_uri(folder / entry.facts.picture) if inside else target
    name = escape(printable(entry.row.file))
    image = (
        f'<img loading="lazy" decoding="async" src="{escape(source)}" alt="picture of {name}">' if source else ""
    )
    return f'<a href="{escape(target)}">{image}</a>'


def _volumes(entry: Entry) -> str:
    volumes = [(name, volume) for name, volume in entry.row.volumes_ml.items() if volume]
    words = [f"{escape(printable(name))} {volume:.4g} ml" for name, volume in volumes[:MAX_VOLUMES]]
    if len(volumes) > MAX_VOLUMES:
        words.append(f"and {len(volumes) - MAX_VOLUMES} more labels")
    return " · ".join(words)


def _summary(summary: Summary, view: FolderView) -> Iterator[str]:
    counts = [f"{summary.cases} masks", f"{summary.doubtful} to look at first"]
    counts += [f"{count} {verdict}" for verdict, count in sorted(summary.verdicts.items())]
    if summary.failed:
        counts.append(f"{summary.failed} failed")
    yield f'<p class="counts">{" · ".join(counts)}</p>'
    yield "<details><summary>How they were made: speed, volumes, versions, command</summary>"
    if summary.throughput:
        yield f"<p>{summary.throughput:,.0f} cases per hour in the latest run that computed any.</p>"
    yield stacked_bar(summary.seconds)
    yield from _charts(summary, view)
    if summary.run:
        versions = ", ".join(f"{name} {version}" for name, version in summary.run.versions.items())
        for title, text in (("Model", summary.run.model), ("Device", summary.run.device), ("Versions", versions)):
            yield f"<p><b>{title}</b> {escape(printable(text))}</p>" if text else ""
        yield f"<p><b>Command</b> <code>{escape(printable(summary.command))}</code></p>" if summary.command else ""
    yield "</details>"
    if view.failed:
        items = "".join(
            f"<li><b>{escape(printable(name))}</b> {escape(printable(reason))}</li>"
            for name, reason in view.failed.items()
        )
        yield f"<details open><summary>Failed: {summary.failed}</summary><ul>{items}</ul></details>"


def _charts(summary: Summary, view: FolderView) -> Iterator[str]:
    colours = {label.name: label.color for labels in view.schemes.values() for label in labels}
    items = list(summary.volumes_ml.items())
    if not items:
        return
    folded = len(items) > MAX_OPEN_CHARTS
    yield f"<details><summary>Volumes of {len(items)} labels</summary>" if folded else ""
    yield '<div class="charts">'
    for name, values in items:
        words = f"{printable(name)}: {min(values):.4g} to {max(values):.4g} ml"
        chart = histogram(values, colours.get(name) or "#888888", words)
        yield f"<figure>{chart}<figcaption>{escape(words)}</figcaption></figure>"
    yield "</div>"
    yield "</details>" if folded else ""
