"""One program run by the panel, with a clean environment; its output and events are collected."""

from __future__ import annotations

import tempfile
from collections import deque
from typing import Callable, Deque, Mapping, Sequence

from .environment import clean_environment
from .events import RunStarted, parse
from .job import Job
from .run_state import RunState

LONGEST_SHOWN = 2000


class Task:
    """A job and its output.

    Args:
        kind: ``run``, ``folder``, ``maps``, ``inspect``, ``test`` or ``make``.
        title: Headline of the panel meanwhile.
        argv: The command.
        variables: Environment variables Slicer was started with.
        log: Called with every line for the log.
        then: Called once with the task and its exit code, unless the task was cancelled.

    Attributes:
        run_state: The state of the run, from its events.
        lines: The last lines of stdout that are not events.
        errors: The last lines of stderr.

    Raises:
        StartError: the program cannot be started.
    """

    def __init__(
        self,
        kind: str,
        title: str,
        argv: Sequence[str],
        variables: Mapping[str, str],
        log: Callable[[str], None],
        then: Callable[["Task", int], None],
    ) -> None:
        self.kind = kind
        self.title = title
        self.then = then
        self.run_state = RunState()
        self.lines: Deque[str] = deque(maxlen=200)
        self.errors: Deque[str] = deque(maxlen=200)
        self._log = log
        log("$ " + " ".join(argv))
        self.job = Job(argv, clean_environment(variables), tempfile.gettempdir())

    def poll(self) -> None:
        """Collect the output since the last call."""
        warnings = len(self.run_state.warnings)
        for stream, line in self.job.poll():
            event = parse(line) if stream == "stdout" else None
            if event is None:
                (self.lines if stream == "stdout" else self.errors).append(line)
                if stream == "stdout" and line.startswith("{"):
                    continue  # JSON for the panel, not for the log
                self._log(line if len(line) <= LONGEST_SHOWN else line[:LONGEST_SHOWN] + " \u2026")
                continue
            self.run_state.take(event)
            if isinstance(event, RunStarted):
                self._log("%s, itk_infer %s, on %s" % (event.model, event.version, event.device))
        for sentence in self.run_state.warnings[warnings:]:
            self._log("warning: " + sentence)
