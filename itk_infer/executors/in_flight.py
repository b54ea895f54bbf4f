"""The tasks of one worker that have not ended yet: a case at work, and cases that are being written."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from itk_infer.executors.messages import AnyTask

MOST_WRITING = 2  # one is being written, and one waits for it


@dataclass(slots=True, eq=False)
class Job:
    """A task that a worker has been given.

    Attributes:
        task: The task.
        spent: Seconds up to `since`.
        since: When its clock was started last; None while it is stopped.
    """

    task: AnyTask
    spent: float = 0.0
    since: float | None = None

    @property
    def name(self) -> str:
        """The case's name."""
        return self.task.name

    @property
    def seconds(self) -> float:
        """Seconds that it has taken, without the time spent waiting for another case to be written."""
        return self.spent + (0.0 if self.since is None else time.monotonic() - self.since)

    def start(self) -> None:
        """Start its clock."""
        self.since = time.monotonic()

    def pause(self) -> None:
        """Stop its clock."""
        self.spent, self.since = self.seconds, None


@dataclass(slots=True)
class Jobs:
    """The jobs of one worker.

    Attributes:
        computing: Job whose case is being computed.
        writing: Jobs whose cases are computed; the first is being written.
    """

    computing: Job | None = None
    writing: list[Job] = field(default_factory=list)

    @property
    def all(self) -> list[Job]:
        """In the order in which they were given."""
        return self.writing if self.computing is None else [*self.writing, self.computing]

    @property
    def room(self) -> bool:
        """Whether the worker can be given one more task."""
        return self.computing is None and len(self.writing) < MOST_WRITING

    def computed(self) -> None:
        """The case at work is computed, and is being written now."""
        job, self.computing = self.computing, None
        if job is not None:
            if self.writing:
                job.pause()
            self.writing.append(job)

    def end(self, name: str) -> None:
        """Forget a job. If one waited for it, that is being written now."""
        if self.computing is not None and self.computing.name == name:
            self.computing = None
        self.writing = [job for job in self.writing if job.name != name]
        if self.writing and self.writing[0].since is None:
            self.writing[0].start()

    def clear(self) -> list[Job]:
        """Forget all, and return them."""
        jobs = self.all
        self.computing, self.writing = None, []
        return jobs
