"""The output while an archive is classified: a summary at intervals, not one line per file."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, NoReturn

import click

from itk_infer.classify.settings import ClassifySettings
from itk_infer.classify.summary import ClassifySummary
from itk_infer.cli.options import with_flags
from itk_infer.cli.progress import JsonLines, counted
from itk_infer.events import CaseFailed, CaseSkipped, Event, Listener, Progress, RunDone, RunStarted, Warned
from itk_infer.volume.names import printable

if TYPE_CHECKING:
    from tqdm import tqdm

PAUSE_S = 10.0  # seconds between two lines about progress
MOST_LINES = 20  # most lines about failed files


def make_classify_listener(kind: str, run: str, *, quiet: bool, verbose: bool) -> Listener:
    """The listener for ``--progress``; see `itk_infer.cli.progress.make_listener`."""
    if kind == "json":
        return JsonLines(run)
    bar = kind == "bar" or (kind == "auto" and sys.stderr.isatty() and not quiet)
    return ClassifyLines(quiet=quiet or kind == "none", verbose=verbose, bar=bar)


class ClassifyLines:
    """Failures, warnings and now and then how far it is, on stderr; with a bar on a terminal.

    Args:
        quiet: No progress.
        verbose: Every failure, and every file that is skipped.
        bar: A bar instead of lines about progress.
    """

    def __init__(self, *, quiet: bool, verbose: bool, bar: bool = False) -> None:
        self._quiet, self._verbose, self._bar = quiet, verbose, bar
        self._drawn: tqdm[NoReturn] | None = None
        self._said = time.monotonic()
        self._failed = 0

    def __call__(self, event: Event) -> None:
        """Print one event, if it is worth a line."""
        match event:
            case RunStarted():
                waiting = event.cases - event.skipped
                if not self._quiet:
                    self._say(
                        f"{counted(event.cases, 'file')}: {waiting:,} to read, {event.skipped:,} already done"
                    )
            case Progress():
                self._progress(event)
            case CaseFailed():
                self._failed += 1
                if self._verbose or self._failed <= MOST_LINES:
                    self._say(f"{event.case}: FAILED, {with_flags(event.reason)}")
                elif self._failed == MOST_LINES + 1:
                    self._say("more files fail; --verbose names each, and results.db has all of them")
            case CaseSkipped():
                if self._verbose:
                    self._say(f"{event.case}: skipped, {event.reason}")
            case Warned():
                self._say(f"warning: {with_flags(event.message)}")
            case RunDone():
                if self._drawn is not None:
                    self._drawn.close()
            case _:
                pass

    def _progress(self, event: Progress) -> None:
        if self._bar:
            from tqdm import tqdm

            if self._drawn is None:
                self._drawn = tqdm(total=event.total, unit="file", file=sys.stderr)
            self._drawn.update(event.done - self._drawn.n)
        elif not self._quiet and time.monotonic() - self._said >= PAUSE_S:
            self._said = time.monotonic()
            left = "" if event.eta_s is None else f", about {event.eta_s:,.0f} s left"
            self._say(f"{event.done:,} of {event.total:,} files{left}")

    def _say(self, line: str) -> None:
        if self._drawn is not None:
            self._drawn.write(printable(line), file=sys.stderr)
        else:
            click.echo(printable(line), err=True)


def print_classified(summary: ClassifySummary, settings: ClassifySettings) -> None:
    """Print on stderr what was classified, skipped and failed, how fast, and where the results are."""
    pace = f", {summary.images / summary.seconds:,.1f} images/s" if summary.images else ""
    lines = [
        f"{counted(summary.images, 'image')} of {counted(summary.done, 'file')} in {summary.seconds:,.1f} s{pace}",
        f"{summary.up_to_date + summary.unchanged:,} already done, {summary.skipped:,} skipped, "
        f"{summary.failed:,} failed",
    ]
    if summary.copies or summary.conflicts:
        lines.append(
            f"{counted(summary.copies, 'copy').replace('copys', 'copies')} counted once; "
            f"{counted(summary.conflicts, 'image')} with the UID of another picture, left out of the studies"
        )
    if summary.problem:
        lines.append(f"Error: the run was ended: {summary.problem}")
    if summary.exit_code > 128:
        lines.append("Interrupted. What is committed stays; the same command does the rest.")
    lines.append(f"results: {settings.database_path}")
    click.echo("\n".join(printable(with_flags(line)) for line in lines), err=True)
