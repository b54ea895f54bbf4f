"""A job: one image to segment with one model, with its state and results."""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

State = Literal["waiting", "running", "done", "failed", "cancelled"]
STATES: tuple[State, ...] = get_args(State)
ENDED: tuple[State, ...] = ("done", "failed", "cancelled")
ID = re.compile(r"[0-9a-f]{16}")


def new_id() -> str:
    """A random id, also used as the name of the job's folder."""
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A client's request.

    Attributes:
        model: Name of a model of the service.
        inputs: Absolute paths of the image, one per channel.
        digest: SHA-256 of the uploaded content; with `key`, it distinguishes a repeated request from another one.
        nbytes: Number of bytes uploaded.
        save: Names of outputs to write beside the label map, see `itk_infer.outputs.registry`.
        label_format: One of `LABEL_FORMATS`.
        name: Name given by the client; stored and shown, and never part of a path.
        key: Idempotency key: two requests with one key are one job; None: no key.
    """

    model: str
    inputs: tuple[str, ...]
    digest: str = ""
    nbytes: int = 0
    save: tuple[str, ...] = ()
    label_format: str = "same"
    name: str = ""
    key: str | None = None

    @property
    def meaning(self) -> str:
        """A text that is equal for two requests for the same thing."""
        return json.dumps([self.model, self.digest, sorted(self.save), self.label_format])


@dataclass(frozen=True, slots=True)
class JobFile:
    """A finished file in the job's folder, with the name of its output in `OUTPUTS`."""

    file_name: str
    nbytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Job:
    """A job in the queue. Times are seconds since the epoch, and None before the event.

    Attributes:
        id: 16 hexadecimal digits.
        number: Ascending; jobs run in this order.
        request: The client's request.
        state: State of the job.
        starts: Number of times it was started.
        created: Time when it was accepted.
        started: Time when it was last started.
        ended: Time when it ended.
        reason: Why it failed or was cancelled; otherwise empty.
        files: Files that can be downloaded, by name.
        results: Results as in the ledger of a run.
    """

    id: str
    number: int
    request: JobRequest
    state: State
    starts: int = 0
    created: float = 0.0
    started: float | None = None
    ended: float | None = None
    reason: str = ""
    files: dict[str, JobFile] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        """Whether its state is final."""
        return self.state in ENDED


def job_of(row: sqlite3.Row) -> Job:
    """Convert a row of the queue's table to a job."""
    request = JobRequest(
        row["model"],
        tuple(json.loads(row["inputs"])),
        row["digest"],
        row["nbytes"],
        tuple(json.loads(row["save"])),
        row["label_format"],
        row["name"],
        row["key"],
    )
    return Job(
        row["id"],
        row["number"],
        request,
        row["state"],
        row["starts"],
        row["created"],
        row["started"],
        row["ended"],
        row["reason"],
        {name: JobFile(*about) for name, about in json.loads(row["files"]).items()},
        json.loads(row["results"]),
    )
