"""Jobs and models as JSON documents of the HTTP interface. Fields may be added, not removed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from itk_infer.service.catalogue import CatalogueEntry
from itk_infer.service.job import Job, State
from itk_infer.service.service import Service
from itk_infer.volume.names import split_suffix


@dataclass(frozen=True, slots=True)
class FileView:
    """A file that can be fetched from `url`; `ending` is that of its name, such as ``.nii.gz``."""

    url: str
    bytes: int
    sha256: str
    ending: str


@dataclass(frozen=True, slots=True)
class JobView:
    """A job. `position` counts from 1 and is null unless it waits; `eta_s`: estimated seconds to its end."""

    id: str
    state: State
    model: str
    name: str
    number: int
    position: int | None
    eta_s: float | None
    created: str
    started: str | None
    ended: str | None
    attempts: int
    reason: str
    files: dict[str, FileView]
    confidence: float | None
    findings: list[dict[str, Any]]
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class JobList:
    """Jobs, the latest first; `next` continues the list as ``before``, null at its end."""

    jobs: list[JobView]
    next: int | None


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model; all but `name`, `state` and `reason` is null until it has been loaded once."""

    name: str
    state: str
    reason: str
    title: str | None
    device: str | None
    channels: list[str] | None
    labels: list[dict[str, Any]] | None


def job_view(job: Job, service: Service) -> JobView:
    """The document of a job."""
    results = job.results
    eta = service.queue.eta(job, len(service.slots))
    return JobView(
        job.id,
        job.state,
        job.request.model,
        job.request.name,
        job.number,
        service.queue.position(job) if job.state == "waiting" else None,
        None if eta is None else round(eta, 1),
        _iso(job.created) or "",
        _iso(job.started),
        _iso(job.ended),
        job.starts,
        job.reason,
        {
            name: FileView(f"/v1/jobs/{job.id}/files/{name}", file.nbytes, file.sha256, _ending(file.file_name))
            for name, file in job.files.items()
        },
        results.get("confidence"),
        results.get("findings", []),
        results.get("warnings", []),
    )


def model_view(entry: CatalogueEntry) -> ModelView:
    """The document of a model."""
    info = entry.info
    if info is None:
        return ModelView(entry.name, entry.state, entry.problem, None, None, None, None)
    labels = [
        {"value": label["value"], "name": label["name"], "color": label["color"]} for label in info.about["labels"]
    ]
    return ModelView(
        entry.name, entry.state, entry.problem, info.name, info.device, list(info.input.channels), labels
    )


def attachment(job: Job, kind: str) -> str:
    """A Content-Disposition header with the client's name for the job, or its id."""
    stem = split_suffix(job.request.name)[0] or job.id
    plain = _kept(stem, r"[^A-Za-z0-9_-]+") or job.id
    full = _kept(stem, r"[^\w-]+") or job.id
    ending = f"{kind}{_ending(job.files[kind].file_name)}"
    return f"attachment; filename=\"{plain}_{ending}\"; filename*=UTF-8''{quote(f'{full}_{ending}')}"


def _ending(file_name: str) -> str:
    return f".{file_name.partition('.')[2]}"


def _kept(text: str, others: str) -> str:
    return re.sub(others, "_", text).strip("_")[:80]


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
