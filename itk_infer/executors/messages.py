"""What an executor is given, and what it tells: values that travel between processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from itk_infer.events import CaseStarted, Progress, Warned
from itk_infer.files.lock_ticket import LockTicket
from itk_infer.run.ledger import InputFile, OutputFile
from itk_infer.run.plan import CaseAction


@dataclass(frozen=True, slots=True)
class Task:
    """One case to run.

    Attributes:
        planned: The case, and what to write.
        safer: Whether a worker died of it before: fp32, one window a call.
        lock: Verified before each file of the case gets its name; None: nothing to verify.
    """

    planned: CaseAction
    safer: bool = False
    lock: LockTicket | None = None

    def verify(self) -> None:
        """Check that the run still holds its output folder.

        Raises:
            LockLostError: it does not.
        """
        if self.lock is not None:
            self.lock.verify()

    @property
    def name(self) -> str:
        """The case's name."""
        return self.planned.case.name


@dataclass(frozen=True, slots=True)
class CaseBegun:
    """A worker has been given the case."""

    name: str
    worker: int


@dataclass(frozen=True, slots=True)
class Reported:
    """Something to show, from the worker at work."""

    event: CaseStarted | Progress | Warned


@dataclass(frozen=True, slots=True)
class Finished:
    """The case is done and its files are committed; what the ledger keeps, and what is shown."""

    name: str
    worker: int
    inputs: tuple[InputFile, ...]
    results: dict[str, Any]
    outputs: tuple[OutputFile, ...]
    paths: tuple[str, ...]
    volumes_ml: dict[str, float]
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The case cannot be finished; it would only fail again."""

    name: str
    worker: int
    reason: str


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """The worker died while the case was at work."""

    name: str
    worker: int
    reason: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The case was at work when the run was told to stop; nothing of it is left behind."""

    name: str


Outcome = Finished | Failed | Stopped
Message = CaseBegun | Reported | Outcome | WorkerDied
Report = Callable[[Message], None]
