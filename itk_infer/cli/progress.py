"""The output during a run, for the user or for another program."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import click

from itk_infer.cli.options import with_flags
from itk_infer.events import (
    CaseDone,
    CaseFailed,
    CaseSkipped,
    CaseStarted,
    Event,
    Listener,
    Progress,
    RunDone,
    RunStarted,
    Warned,
    to_json,
)
from itk_infer.volume.names import printable

if TYPE_CHECKING:
    from tqdm import tqdm


def make_listener(kind: str, run: str, *, quiet: bool, verbose: bool) -> Listener:
    """The listener for ``--progress``.

    Args:
        kind: ``auto`` is bars on a terminal and lines elsewhere.
        run: Identifier of the run, for JSON.
        quiet: Failures and warnings only.
        verbose: Also cases that need nothing.
    """
    if kind == "json":
        return JsonLines(run)
    if kind == "bar" or (kind == "auto" and sys.stderr.isatty() and not quiet):
        return Bars(quiet=quiet, verbose=verbose)
    return Lines(quiet=quiet or kind == "none", verbose=verbose)


class JsonLines:
    """One JSON object per line on stdout, flushed, and nothing else."""

    def __init__(self, run: str) -> None:
        self._run = run

    def __call__(self, event: Event) -> None:
        """Print one event."""
        click.echo(json.dumps(to_json(in_flags(event), self._run)))


class Lines:
    """One line per case on stderr, for logs."""

    def __init__(self, *, quiet: bool, verbose: bool) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._total = 0
        self._ended: set[str] = set()  # a case that is done can still fail, by losing its results

    def __call__(self, event: Event) -> None:
        """Print one event, if it is worth a line."""
        event = in_flags(event)
        match event:
            case RunStarted():
                self._total = event.cases
            case CaseStarted():
                if self._verbose:
                    self.say(f"{event.case}: {_size(event.shape)} voxels, {counted(event.windows, 'window')}")
            case CaseDone():
                self._ended.add(event.case)
                self._say(f"[{len(self._ended)}/{self._total}] {done_line(event)}")
                if self._verbose:
                    self._say("  " + ", ".join(f"{stage} {spent:.2f} s" for stage, spent in event.stages.items()))
            case CaseFailed():
                self._ended.add(event.case)
                self.say(f"[{len(self._ended)}/{self._total}] {failed_line(event)}")
            case CaseSkipped():
                self._ended.add(event.case)
                # What was passed over is named once, by a warning.
                if self._verbose or (event.reason != "already done" and not event.sort):
                    self._say(f"[{len(self._ended)}/{self._total}] {event.case}: skipped, {event.reason}")
            case Warned():
                self.say(f"warning: {event.message}")
            case Progress() | RunDone():
                pass

    def _say(self, line: str) -> None:
        if not self._quiet:
            self.say(line)

    def say(self, line: str) -> None:
        """Print a line on stderr."""
        click.echo(printable(line), err=True)


class Bars(Lines):
    """Bars on a terminal: all cases, and for each worker the windows of its case. Lines stay above them."""

    def __init__(self, *, quiet: bool, verbose: bool) -> None:
        super().__init__(quiet=quiet, verbose=verbose)
        from tqdm import tqdm

        tqdm.set_lock(threading.RLock())  # its own is a semaphore between processes; only this one draws
        self._cases: tqdm[NoReturn] | None = None
        self._windows: dict[int, tqdm[NoReturn]] = {}  # bar of each worker's windows
        self._at_work: dict[int, str] = {}  # last case that each worker began

    def __call__(self, event: Event) -> None:
        """Move the bars, and print what is worth a line."""
        from tqdm import tqdm

        match event:
            case RunStarted():
                self._cases = tqdm(total=event.cases, unit="case", desc="cases", position=0, file=sys.stderr)
            case CaseStarted():
                self._close_windows(event.worker)
                self._at_work[event.worker] = event.case
                self._windows[event.worker] = tqdm(
                    total=event.windows,
                    unit="window",
                    desc=event.case,
                    position=event.worker + 1,
                    leave=False,
                    file=sys.stderr,
                )
            case Progress() if event.worker in self._windows:
                bar = self._windows[event.worker]
                bar.update(event.done - bar.n)
            case CaseDone() | CaseFailed():
                if self._at_work.get(event.worker) == event.case:  # the worker may have begun its next case
                    self._close_windows(event.worker)
                self._move(event.case)
            case CaseSkipped():
                self._move(event.case)
            case RunDone():
                for worker in list(self._windows):
                    self._close_windows(worker)
                if self._cases is not None:
                    self._cases.close()
                    self._cases = None
            case _:
                pass
        super().__call__(event)

    def say(self, line: str) -> None:
        """Print above the bars."""
        from tqdm import tqdm

        tqdm.write(printable(line), file=sys.stderr)

    def _move(self, case: str) -> None:
        if self._cases is not None and case not in self._ended:
            self._cases.update(1)

    def _close_windows(self, worker: int) -> None:
        bar = self._windows.pop(worker, None)
        if bar is not None:
            bar.close()


def in_flags(event: Event) -> Event:
    """The event, with flags in place of the Python arguments that its sentence names."""
    match event:
        case CaseFailed() | CaseSkipped():
            return replace(event, reason=with_flags(event.reason))
        case Warned():
            return replace(event, message=with_flags(event.message))
        case _:
            return event


def done_line(event: CaseDone) -> str:
    """A finished case in one line."""
    sure = "" if event.confidence is None else f", confidence {event.confidence:.3f}"
    return f"{event.case}: done in {event.seconds:.1f} s{sure}"


def failed_line(event: CaseFailed) -> str:
    """A failed case in one line."""
    return f"{event.case}: FAILED, {event.reason}"


def counted(number: int, noun: str) -> str:
    """1 window, 2 windows."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _size(shape: tuple[int, int, int]) -> str:
    return " x ".join(map(str, shape))
