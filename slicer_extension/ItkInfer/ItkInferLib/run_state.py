"""The state of a run, from its events: the table of its cases, its progress, and its warnings."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional, Tuple

from .events import CaseDone, CaseFailed, CaseSkipped, CaseStarted, Event, Progress, RunDone, RunStarted, Warned


@dataclass
class Case:
    """One row of the table: `state` is running, done, failed or skipped; `note` holds details."""

    name: str
    state: str = "running"
    note: str = ""
    outputs: Tuple[str, ...] = ()
    confidence: Optional[float] = None
    volumes_ml: Dict[str, float] = field(default_factory=dict)


class RunState:
    """Collects the events of one run.

    Attributes:
        cases: Rows by case name, in the order of their first events.
        total: Number of planned cases; 0 before the run is planned.
        device: Device of the network.
        warnings: Warnings of the program.
        changed: Names of rows that changed since the owner last emptied this list.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.cases: Dict[str, Case] = {}
        self.total = 0
        self.device = ""
        self.warnings: List[str] = []
        self.changed: List[str] = []
        self.ended: Optional[RunDone] = None
        self._clock = clock
        self._began = clock()
        self._worked = 0
        self._part = 0.0
        self._case_eta: Optional[float] = None

    def take(self, event: Event) -> None:
        """Apply one event."""
        if isinstance(event, RunStarted):
            self.total, self.device, self._began = event.cases, event.device, self._clock()
        elif isinstance(event, CaseStarted):
            self._part, self._case_eta = 0.0, None
            self._row(event.case).note = "%d windows" % event.windows
        elif isinstance(event, Progress):
            self._part = event.done / event.total if event.total > 0 else 0.0
            self._case_eta = event.eta_s
            self._row(event.case).note = "%d %%" % (100 * self._part)
        elif isinstance(event, CaseDone):
            row = self._settle(event.case, "done", "%.1f s" % event.seconds)
            row.outputs, row.confidence, row.volumes_ml = event.outputs, event.confidence, event.volumes_ml
            self._worked += 1
        elif isinstance(event, CaseFailed):
            self._settle(event.case, "failed", event.reason)
            self._worked += 1
        elif isinstance(event, CaseSkipped):
            self._settle(event.case, "skipped", event.reason)
        elif isinstance(event, Warned):
            self.warnings.append(event.message)
        elif isinstance(event, RunDone):
            self.ended = event

    def stop(self) -> None:
        """Mark running cases as skipped, after the program was stopped."""
        for row in self.cases.values():
            if row.state == "running":
                self._settle(row.name, "skipped", "stopped")

    def count(self, state: str) -> int:
        """Number of cases in a state."""
        return sum(row.state == state for row in self.cases.values())

    @property
    def reasons(self) -> List[str]:
        """The reasons of failed cases."""
        return [row.note for row in self.cases.values() if row.state == "failed"]

    @property
    def settled(self) -> int:
        """Number of cases that are done, failed or skipped."""
        return len(self.cases) - self.count("running")

    @property
    def fraction(self) -> Optional[float]:
        """Progress of the run, 0 to 1; None before it is planned."""
        if self.total < 1:
            return None
        return min(1.0, (self.settled + (self._part if self.count("running") else 0.0)) / self.total)

    @property
    def eta_s(self) -> Optional[float]:
        """Estimated seconds left of the run: this case's, plus the average time so far for each other case."""
        if self.total < 1 or self._case_eta is None:
            return None
        waiting = self.total - len(self.cases)
        if waiting < 1:
            return self._case_eta
        if not self._worked:
            spent = self._clock() - self._began
            return self._case_eta + waiting * (spent + self._case_eta)
        running = self.count("running")
        pace = (self._clock() - self._began) / (self._worked + running * self._part)
        return pace * (waiting + running * (1.0 - self._part))

    def _row(self, name: str) -> Case:
        self.changed.append(name)
        return self.cases.setdefault(name, Case(name))

    def _settle(self, name: str, state: str, note: str) -> Case:
        row = self._row(name)
        row.state, row.note = state, note
        self._part, self._case_eta = 0.0, None
        return row


def duration(seconds: float) -> str:
    """A duration as text, such as ``3 min 05 s``."""
    whole = max(0, int(round(seconds)))
    if whole < 60:
        return "%d s" % whole
    if whole < 3600:
        return "%d min %02d s" % divmod(whole, 60)
    return "%d h %02d min" % (whole // 3600, whole % 3600 // 60)
