"""The summary at the end of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from itk_infer.cli.options import with_flags
from itk_infer.volume.names import printable

if TYPE_CHECKING:
    from itk_infer.run.settings import RunSettings
    from itk_infer.run.summary import Summary

MOST_REASONS = 20


def print_summary(summary: Summary, settings: RunSettings, *, verbose: bool) -> None:
    """Print on stderr what was done, skipped and failed and why, how long it took, and where things are."""
    counts = f"{len(summary.done)} done, {len(summary.skipped)} skipped, {len(summary.failed)} failed"
    each = summary.seconds / max(len(summary.done), 1)
    pace = f", {each:{'.1f' if each >= 1 else '.2g'}} s per case" if summary.done else ""
    lines = [f"{counts} in {summary.seconds:.1f} s{pace}"]
    passed = set() if verbose else set(summary.passed_over)  # named once, by a warning at the beginning
    kept = {
        case: reason for case, reason in summary.skipped.items() if reason != "already done" and case not in passed
    }
    for title, reasons in (("failed", summary.failed), ("skipped", kept)):
        listed = list(reasons.items()) if verbose else list(reasons.items())[:MOST_REASONS]
        lines.extend(f"  {title}: {case}: {reason}" for case, reason in listed)
        if len(listed) < len(reasons):
            lines.append(f"  ... and {len(reasons) - len(listed)} more; --verbose shows all")
    if passed:
        lines.append(f"  skipped: {len(passed)} that the first warnings name; --verbose lists them")
    if summary.problem:
        lines.append(f"Error: the run was ended: {summary.problem}")
    if summary.exit_code > 128:
        lines.append("Interrupted. What is finished stays; the same command does the rest.")
    elif not (summary.problem or summary.done or summary.failed or kept):
        lines.append("Nothing to do: every case was done before.")
    if settings.shard is not None:
        lines.append(f"shard {settings.shard}; when all are done: itk_infer report {settings.output}")
    if settings.target.exists():
        lines.append(f"results: {settings.target}")
    click.echo("\n".join(printable(with_flags(line)) for line in lines), err=True)
