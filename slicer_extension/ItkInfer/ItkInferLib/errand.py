"""One program at work for the panel: started with a clean environment, heard, and followed to its end."""

from __future__ import annotations

import tempfile
from collections import deque
from typing import Callable, Deque, Mapping, Sequence

from .environment import clean_environment
from .events import RunStarted, parse
from .job import Job
from .story import Story

LONGEST_SHOWN = 2000


class Errand:
    """A job, and what it said.

    Args:
        kind: ``run``, ``folder``, ``maps``, ``inspect``, ``test`` or ``make``.
        title: For the headline.
        words: The command.
        variables: Those that Slicer was started with.
        log: Is told every line that a person may want to read.
        then: Is told the exit code, once, unless the errand was cancelled.

    Attributes:
        story: What its events told.
        said: The last lines of stdout that are no events.
        errors: The last lines of stderr.

    Raises:
        StartError: the program cannot be started.
    """

    def __init__(
        self,
        kind: str,
        title: str,
        words: Sequence[str],
        variables: Mapping[str, str],
        log: Callable[[str], None],
        then: Callable[["Errand", int], None],
    ) -> None:
        self.kind = kind
        self.title = title
        self.then = then
        self.story = Story()
        self.said: Deque[str] = deque(maxlen=200)
        self.errors: Deque[str] = deque(maxlen=200)
        self._log = log
        log("$ " + " ".join(words))
        self.job = Job(words, clean_environment(variables), tempfile.gettempdir())

    def hear(self) -> None:
        """Take what was said since the last call."""
        warnings = len(self.story.warnings)
        for stream, line in self.job.poll():
            event = parse(line) if stream == "stdout" else None
            if event is None:
                (self.said if stream == "stdout" else self.errors).append(line)
                if stream == "stdout" and line.startswith("{"):
                    continue  # an answer for us, not for a person
                self._log(line if len(line) <= LONGEST_SHOWN else line[:LONGEST_SHOWN] + " \u2026")
                continue
            self.story.take(event)
            if isinstance(event, RunStarted):
                self._log("%s, itk_infer %s, on %s" % (event.model, event.version, event.device))
        for sentence in self.story.warnings[warnings:]:
            self._log("warning: " + sentence)
