"""A service: a queue, the slots in which its jobs run, and the folder of their files.

Independent of the protocol by which jobs come. All methods may be called by any thread.
"""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from itk_infer.errors import ConfigError, ModelError
from itk_infer.events import CaseFailed, CaseSkipped, to_json
from itk_infer.files.commit import remove, sweep_partials
from itk_infer.files.folders import make_folder
from itk_infer.files.lock_ticket import LockTicket
from itk_infer.outputs.output_kind import LABEL_FORMATS
from itk_infer.run.lock import FolderLock
from itk_infer.service.catalogue import Catalogue
from itk_infer.service.counters import Counters
from itk_infer.service.dicom_series import is_zip, unpack
from itk_infer.service.event_log import EventLog
from itk_infer.service.further_outputs import check_save
from itk_infer.service.intake import check_image, recognised_suffix
from itk_infer.service.job import Job, JobRequest, new_id
from itk_infer.service.jobs import JobQueue
from itk_infer.service.refusal import Refusal
from itk_infer.service.settings import ServiceSettings
from itk_infer.service.slot import Slot

JOBS, INCOMING = "jobs", "incoming"
SWEEP_S = 60.0
STOP_S = 20.0


def _to_stderr(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


class Service:
    """Use it as a context manager: entering recovers the queue and starts to work.

    Args:
        settings: What to serve.
        tell: Takes sentences for the administrator.

    Attributes:
        described: Set once every model has been loaded, or has failed to.
        stopping: Set to end the service.
        cancelling: Ids of jobs at work that are to end.
        problem: The error in the program that ended the service; None if there was none.

    Raises:
        ConfigError: on entering: the folder cannot be written, or another service uses it.
    """

    def __init__(self, settings: ServiceSettings, tell: Callable[[str], None] = _to_stderr) -> None:
        self.settings = settings
        self.tell = tell
        self.catalogue = Catalogue(settings.models)
        self.counters = Counters()
        self.described = threading.Event()
        self.stopping = threading.Event()
        self.cancelling: set[str] = set()
        self.problem: BaseException | None = None
        self._home = settings.home.absolute()

    def __enter__(self) -> Self:
        for folder in (self._home, self._home / JOBS, self._home / INCOMING):
            make_folder(folder)
        self._lock = FolderLock(self._home, tell=self.tell)
        self._lock.__enter__()
        try:
            self.queue = JobQueue(self._home, self.settings.max_waiting)
            self._recover()
        except BaseException as error:
            self._lock.__exit__(type(error), error, None)
            raise
        self.slots = [Slot(self, number, where) for number, where in enumerate(self.settings.placements)]
        self._sweeper = threading.Thread(target=self._sweep_often, name="sweeper", daemon=True)
        for thread in (*self.slots, self._sweeper):
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        for slot in self.slots:
            slot.wake.set()
        for thread in (*self.slots, self._sweeper):
            thread.join(STOP_S)
        self.queue.close()
        self._lock.__exit__(kind, error, trace)

    @property
    def ticket(self) -> LockTicket:
        """The ticket of this service's lock on its folder."""
        return self._lock.ticket

    @property
    def loaded(self) -> dict[int, tuple[str, ...]]:
        """Names of the models that are loaded in each slot."""
        return {number: slot.models.names for number, slot in enumerate(self.slots)}

    def broken(self, error: BaseException) -> None:
        """End the service because of an error in the program."""
        self.problem = error
        self.tell(f"a thread of the service ended: {type(error).__name__}: {error}")
        self.stopping.set()

    def folder_of(self, job_id: str) -> Path:
        """The folder of a job; its name is the id, which only this program makes."""
        return self._home / JOBS / job_id

    def new_upload(self) -> Path:
        """A path for an upload that has not been checked yet."""
        return self._home / INCOMING / new_id()

    def free_bytes(self) -> int:
        """Bytes that may still be written."""
        return shutil.disk_usage(self._home).free - self.settings.min_free

    # --- jobs ---------------------------------------------------------------------------------

    def check_request(self, model: str, save: Sequence[str], label_format: str, channels: int = 1) -> None:
        """Check a request before its image is received.

        Raises:
            Refusal: ``not_found``, ``invalid``, ``full`` or ``no_space``.
        """
        entry = self.catalogue.get(model)
        if entry is None:
            names = ", ".join(known.name for known in self.catalogue.all())
            raise Refusal("not_found", f"there is no model of this name; there are {names}")
        if entry.state == "failed":
            raise Refusal("invalid", f"the model cannot be loaded: {entry.problem}")
        check_save(save)
        if label_format not in LABEL_FORMATS:
            raise Refusal("invalid", f"format: no such format; there are {', '.join(LABEL_FORMATS)}")
        if entry.info is not None and len(entry.info.input.channels) != channels:
            raise Refusal(
                "invalid",
                f"the model takes {len(entry.info.input.channels)} channels, and {channels} came; several can be "
                "named as paths, if the server allows a folder",
            )
        self.queue.check_room()
        self.check_space()

    def check_space(self) -> None:
        """Raise `Refusal` ``no_space`` where nothing more may be written."""
        if self.free_bytes() < 0:
            raise Refusal("no_space", "the server's disk is nearly full; fetch and delete finished jobs", 600)

    def submit_upload(self, upload: Path, request: JobRequest) -> tuple[Job, bool]:
        """Check an uploaded file, and make it a job. The file is moved, or deleted.

        Args:
            upload: A complete file at a path of `new_upload`.
            request: Without inputs.

        Returns:
            The job, and whether it is new.

        Raises:
            Refusal: it cannot be taken.
        """
        job_id = new_id()
        folder = self.folder_of(job_id)
        is_new = False
        try:
            folder.mkdir()
            if is_zip(upload):
                image = folder / "series"
                unpack(upload, image, self.settings.max_image, self.check_space)
            else:
                check_save(request.save, is_series=False)
                image = folder / f"input{recognised_suffix(upload)}"
                upload.replace(image)
                check_image(image, self.settings.max_image)
            job, is_new = self.queue.add(replace(request, inputs=(str(image),)), job_id)
        finally:
            remove(upload)
            if not is_new:
                remove(folder)
        self._notify()
        return job, is_new

    def submit_paths(self, paths: Sequence[str], request: JobRequest) -> tuple[Job, bool]:
        """Make a job of images that lie in the allowed folder; they are read there, and never changed.

        Raises:
            Refusal: ``forbidden`` for any other file.
        """
        return self.submit_file([self._allowed(path) for path in paths], request)

    def submit_file(self, images: Sequence[Path], request: JobRequest) -> tuple[Job, bool]:
        """Make a job of files of this machine, one per channel; they are read where they lie, and never changed.

        Raises:
            Refusal: they cannot be taken.
        """
        check_save(request.save, is_series=False)
        for image in images:
            check_image(image, self.settings.max_image)
        job_id = new_id()
        folder = self.folder_of(job_id)
        folder.mkdir()
        is_new = False
        try:
            job, is_new = self.queue.add(replace(request, inputs=tuple(map(str, images))), job_id)
        finally:
            if not is_new:
                remove(folder)
        self._notify()
        return job, is_new

    def cancel(self, job_id: str) -> Job:
        """Cancel a job that waits, or ask the one at work to end between two windows; delete an ended one.

        Raises:
            Refusal: ``not_found``.
        """
        job = self.queue.get(job_id)
        if self.queue.cancel(job_id):
            self._log(job, CaseSkipped(job_id, "cancelled by a client"))
            self.forget_inputs(job)
        elif self.queue.get(job_id).state == "running":
            self.cancelling.add(job_id)
        elif self.queue.delete(job_id):
            remove(self.folder_of(job_id))
            return job
        return self.queue.get(job_id)

    def forget_inputs(self, job: Job) -> None:
        """Delete what was uploaded for a job; images in the allowed folder stay."""
        for path in map(Path, job.request.inputs):
            if path.parent == self.folder_of(job.id):
                remove(path)

    def _allowed(self, path: str) -> Path:
        folder = self.settings.allow_folder
        if folder is None:
            raise Refusal("forbidden", "this server takes no paths; upload the image")
        root = folder.resolve()
        try:
            found = (root / path).resolve()
            good = found.is_relative_to(root) and found.is_file()
        except (OSError, ValueError, RuntimeError):
            good = False
        if not good:
            raise Refusal("forbidden", "the path is no file inside the folder that this server allows")
        return found

    def _notify(self) -> None:
        for slot in self.slots:
            slot.wake.set()

    def _log(self, job: Job, event: CaseSkipped | CaseFailed) -> None:
        EventLog(self.folder_of(job.id)).append(to_json(event, job.id))

    # --- the folder ---------------------------------------------------------------------------

    def _recover(self) -> None:
        """Remove or complete what a killed server left behind."""
        for job in self.queue.recover():
            self._log(job, CaseFailed(job.id, "the server ended too often while it ran", job.starts))
            self.forget_inputs(job)
        for upload in (self._home / INCOMING).iterdir():
            remove(upload)
        known = self.queue.ids()
        for folder in (self._home / JOBS).iterdir():
            if folder.name not in known:
                remove(folder)
            elif self.queue.get(folder.name).has_ended:
                self.forget_inputs(self.queue.get(folder.name))
        sweep_partials(self._home / JOBS, recursive=True)

    def sweep(self) -> None:
        """Delete the jobs whose time or space is used up."""
        for job_id in self.queue.expired(self.settings.keep_s, self.settings.keep_bytes):
            if self.queue.delete(job_id):
                remove(self.folder_of(job_id))

    def _sweep_often(self) -> None:
        while not self.stopping.wait(SWEEP_S):
            try:
                self.sweep()
                self._lock.raise_if_lost()
            except Exception as error:
                self.broken(error)

    def check_models(self) -> None:
        """Raise `ModelError` if none of the models can be loaded; true at the earliest once `described` is set."""
        entries = self.catalogue.all()
        if all(entry.state == "failed" for entry in entries):
            raise ModelError(entries[0].problem)


def check_home(home: Path) -> None:
    """Raise `ConfigError` for a home that holds other things, such as the results of a run."""
    if (home / "itk_infer.db").exists():
        raise ConfigError(f"{home}: holds the results of a run; give the server a folder of its own")
