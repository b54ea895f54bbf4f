"""The states of the panel: headline, advice, progress bar and buttons of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from .failure import Failure
from .run_state import RunState, duration

# Border and background of the status frame; translucent, to suit light and dark themes.
TONES = {
    "calm": ("#8a94a6", "rgba(138, 148, 166, 30)"),
    "wait": ("#d9902f", "rgba(217, 144, 47, 32)"),
    "work": ("#2f7fd1", "rgba(47, 127, 209, 30)"),
    "good": ("#2e9e5b", "rgba(46, 158, 91, 32)"),
    "bad": ("#d1433f", "rgba(209, 67, 63, 32)"),
}
BUSY = -1.0


@dataclass(frozen=True)
class View:
    """One state.

    Attributes:
        tone: A key of `TONES`.
        headline: The state in one sentence.
        advice: What to do next.
        progress: 0 to 1; `BUSY`: working for an unknown time; None: no bar.
        bar_text: Text beside the bar.
        can_run: Whether Run is enabled.
        can_cancel: Whether Cancel is enabled.
    """

    tone: str
    headline: str
    advice: str = ""
    progress: Optional[float] = None
    bar_text: str = ""
    can_run: bool = False
    can_cancel: bool = False

    @property
    def busy(self) -> bool:
        """Whether a program is running, so that choices must not change."""
        return self.progress is not None

    @property
    def style(self) -> str:
        """The style sheet of the status frame."""
        edge, ground = TONES[self.tone]
        return "#statusFrame { border: none; border-left: 4px solid %s; background: %s; }" % (edge, ground)


def needs(headline: str, advice: str) -> View:
    """A choice is missing."""
    return View("calm", headline, advice)


def wrong(headline: str, advice: str) -> View:
    """A choice is invalid."""
    return View("wait", headline, advice)


def ready(what: str) -> View:
    """All choices are made; Run is enabled."""
    return View("calm", "Ready.", "Press Run to segment %s." % what, can_run=True)


def working(title: str, can_run: bool = False) -> View:
    """Working for an unknown time; `can_run`: Run is enabled, and replaces the current task."""
    return View("work", title, "", BUSY, can_run=can_run, can_cancel=True)


def running(title: str, run_state: RunState) -> View:
    """A run in progress."""
    where = " on %s" % run_state.device if run_state.device else ""
    if run_state.fraction is None:
        return View("work", title, "Loading the model\u2026", BUSY, can_cancel=True)
    text = "%d %%" % (100 * run_state.fraction)
    if run_state.eta_s is not None:
        text += ", %s left" % duration(run_state.eta_s)
    if run_state.total > 1:
        advice = "%d of %d cases%s. Slicer stays usable." % (run_state.settled, run_state.total, where)
        if run_state.count("failed"):
            advice = "%d failed so far. %s" % (run_state.count("failed"), advice)
    else:
        advice = "The network runs%s. Slicer stays usable." % where
    return View("work", title, advice, run_state.fraction, text, can_cancel=True)


def cancelling() -> View:
    """Cancel was pressed, and the program has not ended yet."""
    return View("wait", "Stopping\u2026", "The program ends and removes what is unfinished.", BUSY)


def cancelled(batch: bool) -> View:
    """Stopped; ready again."""
    advice = "Nothing was changed." if not batch else "Finished cases stay; Run does the rest."
    return View("calm", "Stopped.", advice + " Press Run to start again.", can_run=True)


def failed(failure: Failure, can_run: bool) -> View:
    """Failed: the program's message, and what to do."""
    first = failure.sentence.split(" ", 1)[0]
    if first.isalpha() and first.islower():  # an ordinary word, not a file or an option
        first = first.capitalize()
    return View("bad", first + failure.sentence[len(first) :], failure.advice, can_run=can_run)


def done(headline: str, advice: str) -> View:
    """Done."""
    return View("good", headline, advice, can_run=True)
