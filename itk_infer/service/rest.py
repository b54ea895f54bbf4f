"""The REST interface of a service, version 1."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any

from fastapi import FastAPI, Header, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from itk_infer._version import __version__
from itk_infer.service.guard import Access, Guard
from itk_infer.service.job import Job, JobRequest, State
from itk_infer.service.metrics import MEDIA, metrics_text
from itk_infer.service.page_routes import add_page
from itk_infer.service.problems import problem, problem_of
from itk_infer.service.refusal import Refusal
from itk_infer.service.server_events import event_stream
from itk_infer.service.service import Service
from itk_infer.service.uploads import Uploads, drain, timed_body
from itk_infer.service.views import JobList, JobView, ModelView, attachment, job_view, model_view

JSON_LIMIT = 1 << 20
LONGEST = 200  # longest name or key, in characters
KEY = r"^[\x21-\x7e]+$"
Id = Annotated[str, Path(pattern="^[0-9a-f]{16}$", description="Id of a job.")]
PROBLEM = {
    "description": "What is wrong, and what to do.",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                },
                "required": ["title", "status", "detail"],
            }
        }
    },
}
PATH = {"type": "string"}
MOST_PATHS = 100
PATHS = {"type": "array", "items": PATH, "minItems": 1, "maxItems": MOST_PATHS}


def _one_field(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {name: schema}, "required": [name], "additionalProperties": False}


BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {"schema": {"oneOf": [_one_field("path", PATH), _one_field("paths", PATHS)]}},
        },
    }
}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return dict.fromkeys((400, 401, 403, 421, 422, *statuses), PROBLEM)


def make_app(service: Service, access: Access, *, monai_label: bool = False) -> Guard:
    """Make the ASGI application of a service.

    Args:
        service: The service, whose context the caller has entered.
        access: Rules for accepting requests.
        monai_label: Whether to serve the interface of MONAI Label, too.
    """
    app = FastAPI(
        title="itk_infer",
        version=__version__,
        summary="Segments medical images with trained networks.",
        docs_url=None,  # the page would load scripts from another server
        redoc_url=None,
        openapi_url="/v1/openapi.json",
    )
    _add_handlers(app, service)
    _add_state(app, service)
    _add_jobs(app, service)
    _add_files(app, service)
    add_page(app)
    if monai_label:
        from itk_infer.service.monai_label import add_monai_label

        add_monai_label(app, service, access)
    if access.origins:
        from starlette.middleware.cors import CORSMiddleware

        app.add_middleware(
            CORSMiddleware, allow_origins=list(access.origins), allow_methods=["*"], allow_headers=["*"]
        )
    return Guard(app, access)


def _add_handlers(app: FastAPI, service: Service) -> None:
    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> Response:
        if request.method == "POST":
            await drain(request, service.settings.max_upload)
        return problem_of(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        what = [f"{'.'.join(map(str, item['loc'][1:]))}: {item['msg']}" for item in error.errors()]
        return problem(422, "; ".join(what))

    @app.exception_handler(HTTPException)
    async def of_the_framework(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        return problem(error.status_code, str(error.detail), headers=headers)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        sys.stderr.write("".join(traceback.format_tb(error.__traceback__)[-4:]) + f"{type(error).__name__}\n")
        detail = f"an error in the program ({type(error).__name__}); its log says where"
        return problem(500, detail, headers={"Connection": "close"})  # uvicorn closes it after an exception


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", summary="Whether the server answers.")
    async def healthz() -> dict[str, str]:
        return {"state": "alive"}

    @app.get("/readyz", summary="Whether jobs can be run.", responses={503: PROBLEM})
    def readyz() -> Any:
        if not service.described.is_set():
            return problem(503, "the models are loading", retry_s=5)
        failed = [entry.name for entry in service.catalogue.all() if entry.state == "failed"]
        if failed:
            return problem(503, f"{len(failed)} of the models cannot be loaded; the list of models says why")
        return {"state": "ready"}

    @app.get("/metrics", summary="Numbers for Prometheus.", response_class=Response)
    def metrics() -> Response:
        return Response(metrics_text(service), media_type=MEDIA)

    @app.get("/v1/models", summary="The models, their states and labels.", responses=_problems())
    def models() -> list[ModelView]:
        return [model_view(entry) for entry in service.catalogue.all()]


def _add_jobs(app: FastAPI, service: Service) -> None:
    uploads = Uploads(service)

    @app.post(
        "/v1/jobs",
        status_code=202,
        summary="Segment an image: the body is its file, or a JSON object with `path` or `paths`.",
        openapi_extra=BODY,
        responses=_problems(404, 408, 409, 413, 415, 429, 507),
    )
    async def submit(
        request: Request,
        response: Response,
        model: Annotated[str, Query(max_length=LONGEST)],
        name: Annotated[str, Query(max_length=LONGEST, description="Your own name for it.")] = "",
        format: Annotated[str, Query(max_length=20, description="Of the label map.")] = "same",
        save: Annotated[list[str] | None, Query(max_length=20, description="Further outputs.")] = None,
        idempotency_key: Annotated[str | None, Header(max_length=LONGEST, pattern=KEY)] = None,
    ) -> JobView:
        wanted = JobRequest(
            model, (), save=tuple(dict.fromkeys(save or ())), label_format=format, name=name, key=idempotency_key
        )
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
            paths = _paths(b"".join([part async for part in timed_body(request, JSON_LIMIT)]))
            job = await run_in_threadpool(_submit_paths, service, paths, wanted)
        else:
            await run_in_threadpool(service.check_request, model, wanted.save, format)
            async with uploads.receive(request) as upload:
                full = JobRequest(
                    model, (), upload.sha256, upload.nbytes, wanted.save, format, name, idempotency_key
                )
                job, _ = await run_in_threadpool(service.submit_upload, upload.path, full)
        response.headers["Location"] = f"/v1/jobs/{job.id}"
        return await run_in_threadpool(lambda: job_view(service.queue.get(job.id), service))

    @app.get("/v1/jobs", summary="All jobs, the latest first.", responses=_problems())
    def jobs(
        state: State | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        before: Annotated[int | None, Query(ge=0, le=2**62, description="`next` of the last page.")] = None,
    ) -> JobList:
        found = service.queue.latest(state, limit, before)
        following = found[-1].number if len(found) == limit else None
        return JobList([job_view(job, service) for job in found], following)

    @app.get("/v1/jobs/{job_id}", summary="A job.", responses=_problems(404))
    def job(job_id: Id) -> JobView:
        return job_view(service.queue.get(job_id), service)

    @app.delete(
        "/v1/jobs/{job_id}",
        summary="Cancel a job, between two windows if it is at work; delete one that has ended, with its files.",
        responses=_problems(404),
    )
    def cancel(job_id: Id) -> JobView:
        return job_view(service.cancel(job_id), service)

    @app.get(
        "/v1/jobs/{job_id}/events",
        summary="What happens to a job, as server-sent events; the last one is `end`.",
        response_class=StreamingResponse,
        responses=_problems(404, 429),
    )
    async def events(
        job_id: Id, request: Request, last_event_id: Annotated[str | None, Header(max_length=20)] = None
    ) -> StreamingResponse:
        await run_in_threadpool(service.queue.get, job_id)
        after = int(last_event_id) if last_event_id and last_event_id.isdecimal() else 0
        stream: AsyncIterator[bytes] = event_stream(service, job_id, after, request.is_disconnected)
        return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def _add_files(app: FastAPI, service: Service) -> None:
    path_of_file = "/v1/jobs/{job_id}/files/{name}"

    @app.head(path_of_file, include_in_schema=False)
    @app.get(
        path_of_file,
        summary="A finished file; ranges are possible, the ETag is its SHA-256.",
        response_class=FileResponse,
        responses={304: {"description": "You have it."}, **_problems(404)},
    )
    def file(
        job_id: Id,
        name: Annotated[str, Path(max_length=40)],
        if_none_match: Annotated[str | None, Header(max_length=2000)] = None,
    ) -> Response:
        job = service.queue.get(job_id)
        about = job.files.get(name)
        path = None if about is None else service.folder_of(job.id) / about.file_name
        if about is None or path is None or not path.is_file():
            raise Refusal("not_found", _no_file(job, name))
        tag = f'"{about.sha256}"'
        headers = {"ETag": tag, "Content-Disposition": attachment(job, name), "Cache-Control": "private, no-cache"}
        if if_none_match is not None and tag in [part.strip() for part in if_none_match.split(",")]:
            return Response(status_code=304, headers=headers)
        return FileResponse(path, headers=headers, media_type="application/octet-stream")


def _no_file(job: Job, name: str) -> str:
    if not job.has_ended:
        return "the job has not ended yet; wait for its last event"
    there = ", ".join(sorted(job.files)) or f"none, because it is {job.state}"
    return f"the job has no such file; there are: {there}"


def _paths(body: bytes) -> list[str]:
    try:
        ((field, value),) = json.loads(body).items()
        paths = [value] if field == "path" else value if field == "paths" else None
        if isinstance(paths, list) and 0 < len(paths) <= MOST_PATHS and {type(path) for path in paths} == {str}:
            return paths
    except (ValueError, AttributeError, RecursionError):
        pass
    raise Refusal("invalid", 'send {"path": "..."}, or {"paths": ["...", "..."]} with one image per channel')


def _submit_paths(service: Service, paths: list[str], request: JobRequest) -> Job:
    if service.settings.allow_folder is None:
        raise Refusal("forbidden", "this server takes no paths; upload the image")
    service.check_request(request.model, request.save, request.label_format, len(paths))
    job, _ = service.submit_paths(paths, replace(request, digest=json.dumps(paths)))
    return job
