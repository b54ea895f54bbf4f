"""Segments images on a server: uploads them, follows each job, and downloads the results."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from itk_infer._version import __version__
from itk_infer.client.client import Client, Document, check_done
from itk_infer.errors import CaseError, ConfigError, NoInputError, OutputError
from itk_infer.events import (
    CaseDone,
    CaseFailed,
    CaseSkipped,
    CaseStarted,
    Event,
    Events,
    Progress,
    RunDone,
    RunStarted,
    Warned,
    from_json,
)
from itk_infer.files.folders import make_folder
from itk_infer.outputs.registry import LABELS, OUTPUTS
from itk_infer.volume.names import printable, split_suffix

AHEAD = 3  # images uploaded in advance while a job is followed, to keep the server busy
MASK = "mask"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Options that apply to all images.

    Attributes:
        output: Folder to write to; created if missing.
        model: Name of the model on the server; empty: its only one.
        label_format: Format of the label map, as ``--format``.
        save: Names of further outputs.
        overwrite: Replace existing files.
    """

    output: Path
    model: str = ""
    label_format: str = "same"
    save: tuple[str, ...] = ()
    overwrite: bool = False


def segment_images(client: Client, images: Sequence[Path], wanted: Wanted, events: Events) -> RunDone:
    """Segment images on a server. If this raises, jobs that have not ended are cancelled.

    Args:
        client: Client of the server.
        images: Files, or folders of DICOM series.
        wanted: Options for all images.
        events: Receives the events of a run, with one case per image.

    Returns:
        The last event, with the exit code.

    Raises:
        ConfigError: the images, the folder or the server cannot be used with these options.
    """
    began, counts = time.monotonic(), Counter[str]()
    _check(images, wanted.output)
    model = _model(client.models(), wanted.model)
    make_folder(wanted.output)
    events.emit(
        RunStarted(__version__, len(images), 0, 1, f"{model['device'] or 'a device'} of the server", model["name"])
    )
    waiting, queued = deque(images), deque[tuple[Path, Future[str]]]()
    uploads = ThreadPoolExecutor(1, "uploads")  # a signal must not interrupt an upload
    sent = list[str]()  # jobs that have not ended; that thread notes them, so that a signal cannot lose one
    try:
        while waiting or queued:
            if waiting and len(queued) <= AHEAD:
                image = waiting.popleft()
                mask = wanted.output / OUTPUTS[LABELS].file_name(*split_suffix(image.name), wanted.label_format)
                if mask.exists() and not wanted.overwrite:
                    counts["skipped"] += 1
                    events.emit(CaseSkipped(image.name, f"{printable(mask)} is there; `overwrite` replaces it"))
                else:
                    queued.append((image, uploads.submit(_submit, client, image, model["name"], wanted, sent)))
                continue
            image, upload = queued[0]
            try:
                for event in _followed(client, image, upload.result(), wanted):
                    events.emit(event)
                counts["done"] += 1
            except (CaseError, ConfigError) as error:  # such as a job that another client has deleted
                counts["failed"] += 1
                events.emit(CaseFailed(image.name, str(error), 1))
            queued.popleft()
            if upload.exception() is None:
                sent.remove(upload.result())
    finally:
        uploads.shutdown(cancel_futures=True)
        for job_id in sent:  # empty unless an error has occurred
            with suppress(CaseError, ConfigError):
                client.cancel(job_id)
    code = 0 if not counts["failed"] else 3 if counts["failed"] < len(images) else 4
    seconds = round(time.monotonic() - began, 3)
    done = RunDone(counts["done"], counts["failed"], counts["skipped"], seconds, code)
    events.emit(done)
    return done


def _submit(client: Client, image: Path, model: str, wanted: Wanted, sent: list[str]) -> str:
    job = client.submit(image, model, name=image.name, label_format=wanted.label_format, save=wanted.save)
    sent.append(job["id"])
    return sent[-1]


def _followed(client: Client, image: Path, job_id: str, wanted: Wanted) -> Iterator[Event]:
    """Yield the events of a job; the last one follows after its files are downloaded."""
    job, done = Document(), None
    for document in client.events(job_id):
        job = document.get("job", job)
        event = _event(document, image.name, job_id)
        if isinstance(event, CaseDone):
            done = event
        elif event is not None:
            yield event
    check_done(job)
    stem, paths = split_suffix(image.name)[0], []
    for kind, about in sorted(job["files"].items(), key=lambda item: item[0] == MASK):  # the mask comes last
        path = wanted.output / f"{stem}{about['ending']}"
        if path.exists() and not wanted.overwrite:
            raise OutputError(f"{printable(path)}: is there, and is kept; `overwrite` replaces it")
        paths.append(str(client.fetch(job, kind, path)))
    if done is not None:
        yield replace(done, outputs=tuple(paths))


def _event(document: Document, name: str, job_id: str) -> Event | None:
    """The event about the image for an event of a job; None for those not passed on, such as failures."""
    event = from_json(document)
    match event:
        case CaseStarted() | Progress() | CaseDone():
            return replace(event, case=name, worker=0)
        case Warned():
            return Warned(event.message.replace(job_id, name))
    return None


def _check(images: Sequence[Path], output: Path) -> None:
    stems = Counter(split_suffix(image.name)[0].casefold() for image in images)
    twice = [image for image in images if stems[split_suffix(image.name)[0].casefold()] > 1]
    if twice:
        raise ConfigError(
            f"{printable(twice[0])}: another image has the same name; give each call an output folder"
        )
    for image in images:
        if not image.exists():
            raise NoInputError(f"{printable(image)}: no such file or folder")
        if image.resolve().parent == output.resolve():
            raise ConfigError(f"{printable(output)}: holds the image {printable(image.name)}; give another folder")


def _model(models: Sequence[Document], name: str) -> Document:
    """The model with this name; without a name, the only one."""
    names = [model["name"] for model in models]
    if name in names or (not name and len(names) == 1):
        return models[names.index(name or names[0])]
    wrong = f"the server has no model `{printable(name)}`" if name else "the server has several models"
    raise ConfigError(f"{wrong}; give one of {', '.join(map(printable, names))}")
