"""The unfinished tasks of one worker: a case being computed, and cases being written."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from itk_infer.executors.messages import AnyTask

MOST_WRITING = 2  # one that is being written, and one in the queue


@dataclass(slots=True, eq=False)
class Job:
    """A task that was given to a worker.

    Attributes:
        task: The task.
        spent: Seconds counted up to `since`.
        since: Time at which its clock was last started; None while it is stopped.
    """

    task: AnyTask
    spent: float = 0.0
    since: float | None = None

    @property
    def name(self) -> str:
        """Name of the case."""
        return self.task.name

    @property
    def seconds(self) -> float:
        """Seconds spent on it, without waiting for another case to be written."""
        return self.spent + (0.0 if self.since is None else time.monotonic() - self.since)

    def start(self) -> None:
        """Start its clock."""
        self.since = time.monotonic()

    def pause(self) -> None:
        """Stop its clock."""
        self.spent, self.since = self.seconds, None


@dataclass(slots=True)
class Jobs:
    """The unfinished jobs of one worker.

    Attributes:
        computing: Job whose case is being computed; None if there is none.
        writing: Jobs whose cases are computed; the first is being written.
    """

    computing: Job | None = None
    writing: list[Job] = field(default_factory=list)

    @property
    def all(self) -> list[Job]:
        """All jobs, in the order in which they were given."""
        return self.writing if self.computing is None else [*self.writing, self.computing]

    @property
    def room(self) -> bool:
        """Whether the worker can take another task."""
        return self.computing is None and len(self.writing) < MOST_WRITING

    def computed(self) -> None:
        """Move the job from `computing` to `writing`; its clock stops while another one is written."""
        job, self.computing = self.computing, None
        if job is not None:
            if self.writing:
                job.pause()
            self.writing.append(job)

    def end(self, name: str) -> None:
        """Remove a job; the next one in the queue starts to be written."""
        if self.computing is not None and self.computing.name == name:
            self.computing = None
        self.writing = [job for job in self.writing if job.name != name]
        if self.writing and self.writing[0].since is None:
            self.writing[0].start()

    def clear(self) -> list[Job]:
        """Remove and return all jobs."""
        jobs = self.all
        self.computing, self.writing = None, []
        return jobs
