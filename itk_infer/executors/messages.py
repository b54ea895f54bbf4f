"""Tasks and messages of executors, and messages between a worker process and its parent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self

from itk_infer.case.case import Case
from itk_infer.errors import ItkInferError
from itk_infer.events import CaseStarted, Progress, Warned
from itk_infer.files.lock_ticket import LockTicket
from itk_infer.files.records import InputFile, OutputFile

STOP = "stop"  # sent to a worker instead of an `Assignment`: drop the running case


class AnyTask(Protocol):
    """A task of an executor: a `Task`, or another picklable value that its runner computes.

    Attributes:
        name: Name, unique among the tasks of a run.
        safer: Whether a worker died while it computed the task, which then runs alone in its worker.
    """

    @property
    def name(self) -> str:
        """Name, unique among the tasks of a run."""
        ...

    @property
    def safer(self) -> bool:
        """Whether a worker died while it computed the task."""
        ...

    def absolute(self) -> Self:
        """The same task with absolute paths, for a process with another current folder."""
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """One case to run.

    Attributes:
        case: The case.
        folder: The output folder, which must exist.
        wanted: Outputs to write (see `itk_infer.outputs.registry`): for each name, the file below `folder`.
        safer: Whether a worker died while it computed the case, which then runs in fp32 with one window per call.
        lock: Verified before each file of the case gets its final name; None: nothing to verify.
    """

    case: Case
    folder: Path
    wanted: tuple[tuple[str, Path], ...]
    safer: bool = False
    lock: LockTicket | None = None

    def verify(self) -> None:
        """Check that the run still holds its output folder.

        Raises:
            LockLostError: it does not hold it any more.
        """
        if self.lock is not None:
            self.lock.verify()

    @property
    def name(self) -> str:
        """The case's name."""
        return self.case.name

    def absolute(self) -> Task:
        """The same task with absolute paths, for a process with another current folder."""
        wanted = tuple((name, path.absolute()) for name, path in self.wanted)
        return replace(self, case=self.case.absolute(), folder=self.folder.absolute(), wanted=wanted)


@dataclass(frozen=True, slots=True)
class CaseBegun:
    """A worker has started the case."""

    name: str
    worker: int


@dataclass(frozen=True, slots=True)
class Reported:
    """An event of a case, emitted in its worker."""

    event: CaseStarted | Progress | Warned


@dataclass(frozen=True, slots=True)
class Finished:
    """The case is done and its files are committed; holds the results for the ledger and for display."""

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
    """The case has failed, and would fail again in a second attempt."""

    name: str
    worker: int
    reason: str


@dataclass(frozen=True, slots=True)
class TimedOut(Failed):
    """The case took longer than its time limit, and its worker was ended."""


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """The worker died while it ran the case."""

    name: str
    worker: int
    reason: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The run was stopped while the case was running; its files were removed."""

    name: str


@dataclass(frozen=True, slots=True)
class Returned:
    """A task that writes no files is done; holds its result.

    Attributes:
        name: Name of the task.
        worker: Number of the worker.
        value: Result of the task.
    """

    name: str
    worker: int
    value: Any


Outcome = Finished | Returned | Failed | Stopped
Message = CaseBegun | Reported | Outcome | WorkerDied
Report = Callable[[Message], None]


# --- between a worker process and its parent ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Assignment:
    """The next task for a worker.

    Attributes:
        task: The case to compute, or another task.
        ahead: A case to read meanwhile, because it probably comes next; the worker may be given another one.
    """

    task: AnyTask
    ahead: Case | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """Sent to a worker instead of an `Assignment`: drop this case at its next window, then continue."""

    name: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded.

    Attributes:
        facts: Description of the model, `Runner.facts`.
        overlaps: Whether the worker reads ahead and sends `Computed`.
    """

    facts: Any
    overlaps: bool


@dataclass(frozen=True, slots=True)
class Computed:
    """The network has finished the case: the next one can be sent while this one's files are written."""

    name: str


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The model cannot be loaded."""

    error: ItkInferError
