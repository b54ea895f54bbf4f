"""The part of MONAI Label's HTTP interface that its clients in 3D Slicer and OHIF use.

Differences that do not affect clients: requests wait in the queue like other jobs, an image is always one that was
uploaded and never a path on the server, and there is no training.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from itk_infer._version import __version__
from itk_infer.service.catalogue import CatalogueEntry
from itk_infer.service.consecutive_labels import consecutive, renumbered
from itk_infer.service.guard import Access
from itk_infer.service.image_store import LONGEST_ID, ImageStore, StoredImage
from itk_infer.service.job import Job, JobRequest
from itk_infer.service.job_files import MASK
from itk_infer.service.refusal import Refusal
from itk_infer.service.service import Service
from itk_infer.service.session_store import KEPT_S, Session, SessionStore
from itk_infer.service.uploads import Uploads

STRATEGY = "doubtful first"
POLL_S = 0.1
ImageId = Annotated[str, Query(max_length=LONGEST_ID)]


def add_monai_label(app: FastAPI, service: Service, access: Access) -> None:
    """Add the routes to an application; with them, MONAI Label's clients can use the service."""
    home, max_image = service.settings.home.absolute(), service.settings.max_image
    store, sessions = ImageStore(home / "images", max_image), SessionStore(home / "sessions", max_image)
    uploads = Uploads(service)
    _add_login(app, access, uploads)
    _add_info(app, service, store)
    _add_images(app, service, store, uploads)
    _add_labels(app, store, uploads)
    _add_sessions(app, sessions, uploads)
    _add_inference(app, service, store, sessions)


def _add_login(app: FastAPI, access: Access, uploads: Uploads) -> None:
    hidden: dict[str, Any] = {"include_in_schema": False}

    @app.get("/auth/", **hidden)
    async def auth() -> dict[str, bool]:
        return {"enabled": bool(access.tokens)}

    @app.post("/auth/token", **hidden)
    async def token(request: Request) -> dict[str, str]:
        async with uploads.form(request) as form:
            password = form.get("password")
        if not isinstance(password, str) or not access.knows_token(f"Bearer {password}"):
            raise Refusal("forbidden", "the password is none of the server's tokens")
        return {"access_token": password, "token_type": "bearer"}

    @app.get("/auth/token/valid", **hidden)
    async def valid() -> dict[str, bool]:  # the guard has checked the token
        return {"valid": True}


def _add_info(app: FastAPI, service: Service, store: ImageStore) -> None:
    @app.get("/info/", include_in_schema=False)
    def info() -> dict[str, Any]:
        ready = [entry for entry in service.catalogue.all() if entry.info is not None]
        models = {entry.name: _model(entry) for entry in ready}
        names = [name for model in models.values() for name in model["labels"]]
        images = store.all()
        return {
            "name": "itk_infer",
            "description": "Segments images with trained networks.",
            "version": __version__,
            "labels": list(dict.fromkeys(names)),
            "models": models,
            "trainers": {},
            "strategies": {STRATEGY: {"description": "Images without a label, the most doubtful result first."}},
            "scoring": {},
            "train_stats": {},
            "datastore": {"total": len(images), "completed": sum(bool(image.labels) for image in images)},
        }


def _model(entry: CatalogueEntry) -> dict[str, Any]:
    about = entry.info.about if entry.info else {"labels": [], "spec": {}}
    return {
        "type": "segmentation",
        "labels": consecutive(about["labels"]),
        "dimension": 3,
        "description": about["spec"].get("description") or entry.name,
        "config": {},
    }


def _add_images(app: FastAPI, service: Service, store: ImageStore, uploads: Uploads) -> None:
    @app.put("/datastore/", include_in_schema=False)
    async def put_image(request: Request, image: ImageId) -> dict[str, str]:
        async with uploads.form(request) as form, uploads.part(form, "file") as upload:
            stored = await run_in_threadpool(store.add, image, upload)
        return {"image": stored.id}

    @app.get("/datastore/", include_in_schema=False)
    def datastore(output: str = "") -> dict[str, Any]:
        images = store.all()
        if output != "all":
            completed = sum(bool(image.labels) for image in images)
            return {"total": len(images), "completed": completed}
        objects = {
            image.id: {
                "image": {"ext": image.suffix, "info": {}},
                "labels": {tag: {"ext": _ending(path.name), "info": {}} for tag, path in image.labels.items()},
            }
            for image in images
        }
        return {"name": "itk_infer", "description": "", "objects": objects}

    @app.get("/datastore/image", include_in_schema=False)
    def get_image(image: ImageId) -> Response:
        return FileResponse(store.get(image).path, media_type="application/octet-stream")

    @app.post("/activelearning/{strategy}", include_in_schema=False)
    def next_image(strategy: str) -> dict[str, Any]:
        image = store.next_to_label()
        return {"id": image.id, "name": f"{image.id}{image.suffix}", "path": f"image{image.suffix}"}


def _add_labels(app: FastAPI, store: ImageStore, uploads: Uploads) -> None:
    @app.put("/datastore/label", include_in_schema=False)
    async def put_label(request: Request, image: ImageId, tag: str = "") -> dict[str, str]:
        async with uploads.form(request) as form, uploads.part(form, "label") as upload:
            about = _params(form)
            await run_in_threadpool(store.add_label, image, tag or "final", upload, about)
        return {"image": image, "label": image}

    @app.get("/datastore/label", include_in_schema=False)
    def get_label(label: ImageId, tag: str = "") -> Response:
        path = store.get(label).labels.get(tag or "final")
        if path is None:
            raise Refusal("not_found", "the image has no label of this tag")
        # The client in 3D Slicer derives the format from this name.
        named = {"Content-Disposition": f'attachment; filename="label{_ending(path.name)}"'}
        return FileResponse(path, headers=named, media_type="application/octet-stream")


def _add_sessions(app: FastAPI, sessions: SessionStore, uploads: Uploads) -> None:
    @app.put("/session/", include_in_schema=False)
    async def put_session(request: Request) -> dict[str, Any]:
        async with uploads.form(request) as form, uploads.part(form, "files") as upload:
            session = await run_in_threadpool(sessions.add, upload)
        return _session(session)

    @app.get("/session/{session_id}", include_in_schema=False)
    def get_session(session_id: str) -> dict[str, Any]:
        return _session(sessions.get(session_id))

    @app.delete("/session/{session_id}", include_in_schema=False)
    def delete_session(session_id: str) -> dict[str, Any]:
        return _session(sessions.remove(session_id))


def _session(session: Session) -> dict[str, Any]:
    return {
        "session_id": session.id,
        "image": session.image.name,
        "last_access_ts": session.used,
        "expiry": KEPT_S,
    }


def _add_inference(app: FastAPI, service: Service, store: ImageStore, sessions: SessionStore) -> None:
    @app.post("/infer/{model}", include_in_schema=False)
    async def infer(
        request: Request, model: str, image: ImageId = "", output: str = "", session_id: str = ""
    ) -> Response:
        if session_id:
            stored = None
            job = await run_in_threadpool(_submit_session, service, model, sessions, session_id)
        else:
            stored = await run_in_threadpool(store.get, image)
            job = await run_in_threadpool(_submit, service, model, stored)
        job = await _ended(service, job, request)
        if job.state != "done":
            raise Refusal("invalid", job.reason or f"the job is {job.state}")
        if stored is not None:
            await run_in_threadpool(store.segmented, stored, job.results.get("confidence"))
        answer = await run_in_threadpool(_answer, service, job)
        if output == "image":
            return Response(answer[1], media_type="application/octet-stream")
        return _multipart(*answer)


def _submit(service: Service, model: str, image: StoredImage) -> Job:
    service.check_request(model, (), "nrrd")
    return service.submit_file((image.path,), JobRequest(model, (), label_format="nrrd", name=image.id))[0]


def _submit_session(service: Service, model: str, sessions: SessionStore, session_id: str) -> Job:
    service.check_request(model, (), "nrrd")
    upload = service.new_upload()
    sessions.copy_to(session_id, upload)
    return service.submit_upload(upload, JobRequest(model, (), label_format="nrrd"))[0]


async def _ended(service: Service, job: Job, request: Request) -> Job:
    """Wait until a job has ended and return it; if the client disconnects, the job is cancelled."""
    while not job.has_ended:
        if service.stopping.is_set():
            raise Refusal("busy", "the server stops; ask again when it is back", 10)
        if await request.is_disconnected():
            await run_in_threadpool(service.cancel, job.id)
            raise Refusal("invalid", "the client has left")
        await asyncio.sleep(POLL_S)
        job = await run_in_threadpool(service.queue.get, job.id)
    return job


def _answer(service: Service, job: Job) -> tuple[dict[str, Any], bytes]:
    """The data that the client shows with the label map, and the bytes of the label map."""
    entry = service.catalogue.get(job.request.model)
    labels = entry.info.about["labels"] if entry is not None and entry.info is not None else []
    names = consecutive(labels)
    values = sorted(int(label["value"]) for label in labels if label["value"] > 0)
    mask = renumbered(service.folder_of(job.id) / job.files[MASK].file_name, values)
    params = {
        "label_names": names,
        "centroids": {},
        "confidence": job.results.get("confidence"),
        "warnings": job.results.get("warnings", []),
    }
    return params, mask


def _multipart(params: dict[str, Any], mask: bytes) -> Response:
    """The response in the form that 3D Slicer's client reads; it saves the label map under the name given here."""
    boundary = secrets.token_hex(16)
    name = f"{secrets.token_hex(8)}.nrrd"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="params"\r\nContent-Type: application/json\r\n\r\n'
        f"{json.dumps(params)}\r\n--{boundary}\r\n"
        f'Content-Disposition: form-data; name="image"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = head.encode() + mask + f"\r\n--{boundary}--\r\n".encode()
    return Response(body, media_type=f"multipart/form-data; boundary={quote(boundary)}")


def _params(form: FormData) -> Any:
    text = form.get("params", "{}")
    if isinstance(text, UploadFile):
        raise Refusal("invalid", "params: send JSON text, not a file")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Refusal("invalid", "params: is no JSON") from None


def _ending(name: str) -> str:
    return name[name.index(".") :]
