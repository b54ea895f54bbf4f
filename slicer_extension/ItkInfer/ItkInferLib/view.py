"""What each state of the panel looks like: one sentence, what to do next, the bar, the buttons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from .failure import Failure
from .story import Story, duration

# Edge and ground of the status frame; translucent, so that light and dark themes both work.
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
        headline: What is.
        advice: What to do.
        progress: 0 to 1; `BUSY`: at work, no one knows how long; None: no bar.
        bar_text: Beside the bar.
        can_run: Whether Run may be pressed.
        can_cancel: Whether Cancel may be pressed.
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
        """Whether something is at work, so that choices must not change."""
        return self.progress is not None

    @property
    def style(self) -> str:
        """The style sheet of the status frame."""
        edge, ground = TONES[self.tone]
        return "#statusFrame { border: none; border-left: 4px solid %s; background: %s; }" % (edge, ground)


def needs(headline: str, advice: str) -> View:
    """Something has to be chosen first."""
    return View("calm", headline, advice)


def wrong(headline: str, advice: str) -> View:
    """Something that was chosen cannot work."""
    return View("wait", headline, advice)


def ready(what: str) -> View:
    """Run may be pressed."""
    return View("calm", "Ready.", "Press Run to segment %s." % what, can_run=True)


def working(title: str, can_run: bool = False) -> View:
    """At work, for an unknown time; `can_run`: a run may push it aside."""
    return View("work", title, "", BUSY, can_run=can_run, can_cancel=True)


def running(title: str, story: Story) -> View:
    """A run, as far as it told."""
    where = " on %s" % story.device if story.device else ""
    if story.fraction is None:
        return View("work", title, "Loading the model\u2026", BUSY, can_cancel=True)
    text = "%d %%" % (100 * story.fraction)
    if story.eta_s is not None:
        text += ", %s left" % duration(story.eta_s)
    if story.total > 1:
        advice = "%d of %d cases%s. Slicer stays usable." % (story.settled, story.total, where)
        if story.count("failed"):
            advice = "%d failed so far. %s" % (story.count("failed"), advice)
    else:
        advice = "The network runs%s. Slicer stays usable." % where
    return View("work", title, advice, story.fraction, text, can_cancel=True)


def cancelling() -> View:
    """Between the press on Cancel and the end of the program."""
    return View("wait", "Stopping\u2026", "The program ends and removes what is unfinished.", BUSY)


def cancelled(batch: bool) -> View:
    """Stopped; ready again."""
    advice = "Nothing was changed." if not batch else "Finished cases stay; Run does the rest."
    return View("calm", "Stopped.", advice + " Press Run to start again.", can_run=True)


def failed(failure: Failure, can_run: bool) -> View:
    """Failed: the program's sentence, and what to do."""
    first = failure.sentence.split(" ", 1)[0]
    if first.isalpha() and first.islower():  # a word, and no file or option
        first = first.capitalize()
    return View("bad", first + failure.sentence[len(first) :], failure.advice, can_run=can_run)


def done(headline: str, advice: str) -> View:
    """Done."""
    return View("good", headline, advice, can_run=True)
