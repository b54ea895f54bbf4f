"""Common parts of evaluation pages: style, tables, escaped text. No scripts, no external resources."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --line: #d0d7de;
  --mark: #0072b2; --box: #9ecae1; --warm: #d55e00 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --line: #30363d;
  --mark: #56b4e9; --box: #1f4e6b; --warm: #e69f00 } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  margin: 2rem auto; max-width: 80rem; padding: 0 1rem }
table { border-collapse: collapse; font-size: 14px; display: block; overflow-x: auto }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right }
th:first-child, td:first-child, td.t { text-align: left }
td small { display: block; opacity: .75; white-space: nowrap }
.w { color: var(--warm); font-weight: 600 }
svg { max-width: 100%; height: auto }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink) }
svg .strong { font-weight: 600 }
.grid { stroke: var(--line) }
.whisker { stroke: var(--mark) }
.box { fill: var(--box); stroke: var(--mark) }
.median { stroke: var(--warm); stroke-width: 2 }
.limit { stroke: var(--warm); stroke-dasharray: 5 4 }
.dots { stroke: var(--mark); stroke-width: 5; stroke-linecap: round; opacity: .65; fill: none }
.curve { stroke: var(--mark); stroke-width: 2; fill: none }
.band { fill: var(--box); opacity: .45 }
.row { display: flex; flex-wrap: wrap; gap: 1rem }
@media print { body { margin: 0 } }
"""


def page_head(title: str) -> str:
    """HTML from the start of a page to its heading."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Evaluation</title>'
        '<meta name="viewport" content="width=device-width"><meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<style>{STYLE}</style></head><body><h1>{escape(title)}</h1>"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """HTML of a table; the cells come from `cell`."""
    head = "".join(f"<th>{escape(title)}</th>" for title in header)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def cell(text: str, kind: str = "") -> str:
    """HTML of a cell with escaped text and a class of `STYLE`."""
    start = f'<td class="{kind}">' if kind else "<td>"
    return f"{start}{escape(text)}</td>"
