"""A slot, which runs one job at a time: a thread that takes jobs from the queue and passes them to workers."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from itk_infer.case.case import Case
from itk_infer.errors import CaseError, ConfigError, InterruptedRunError, ItkInferError
from itk_infer.events import CaseDone, CaseFailed, CaseSkipped, Event, Warned, to_json
from itk_infer.executors.gpus import Placement
from itk_infer.executors.messages import Failed, Finished, Message, Reported, Stopped, Task, WorkerDied
from itk_infer.executors.workers import Workers
from itk_infer.files.commit import remove
from itk_infer.outputs.registry import LABELS, OUTPUTS
from itk_infer.service.dicom_series import series_case
from itk_infer.service.event_log import EventLog
from itk_infer.service.job import Job
from itk_infer.service.job_files import kept_files
from itk_infer.service.loaded_models import LoadedModels
from itk_infer.volume.names import split_suffix

if TYPE_CHECKING:
    from itk_infer.service.service import Service

IDLE_S = 0.5
CANCEL_S = 30.0  # seconds for the current window to end; then the worker is ended
MOST_ATTEMPTS = 2  # attempts of a job whose worker dies, as in a run over a folder
STEM = "result"


class Slot(threading.Thread):
    """A thread that runs jobs of a service, one at a time.

    Args:
        service: Service whose jobs it runs.
        number: Number of this slot.
        placement: Device and threads of its workers.
    """

    def __init__(self, service: Service, number: int, placement: Placement) -> None:
        super().__init__(name=f"slot {number}", daemon=True)
        self._service = service
        self._number = number
        self.models = LoadedModels(service.settings, placement)
        self.wake = threading.Event()

    def run(self) -> None:
        """Run jobs until the service stops."""
        try:
            if self._number == 0:
                self._describe()
            while not self._service.stopping.is_set():
                self.wake.clear()
                job = self._service.queue.take()
                if job is None:
                    self.wake.wait(IDLE_S)
                    continue
                _JobRun(self._service, self.models, job, self._number, self._check).work()
        except InterruptedRunError:
            pass  # stopped while a model was loading
        except BaseException as error:
            self._service.broken(error)
        finally:
            self.models.close()

    def _describe(self) -> None:
        """Load every model once; the first one is loaded last, so that it stays loaded."""
        for name in reversed(list(self._service.settings.models)):
            try:
                self.models.get(name, self._check, self._service.catalogue.loaded)
            except InterruptedRunError:
                raise
            except ItkInferError as error:
                self._service.catalogue.failed(name, str(error))
                self._service.tell(f"model {name}: {error}")
        self._service.described.set()

    def _check(self) -> None:
        if self._service.stopping.is_set():
            raise InterruptedRunError(signal.SIGTERM)


class _JobRun:
    """The execution of one job, from the queue to its end."""

    def __init__(
        self,
        service: Service,
        models: LoadedModels,
        job: Job,
        number: int,
        check: Callable[[], None],
    ) -> None:
        self._service = service
        self._models = models
        self._job = job
        self._number = number
        self._check = check
        self._folder = service.folder_of(job.id)
        self._log = EventLog(self._folder)
        self._case: Case | None = None  # None until its model is loaded
        self._ended = False
        self._deaths = 0
        self._began = time.monotonic()

    def work(self) -> None:
        job = self._job
        try:
            executor = self._models.get(job.request.model, self._check, self._service.catalogue.loaded)
            try:
                self._case = self._make_case()
            except (CaseError, ConfigError) as error:
                self._fail(str(error))
                return
            executor.submit(self._task(self._case), self._following())
            deadline = None
            while not self._ended:
                self._check()
                if self._dropped and deadline is None:
                    executor.cancel(self._name, self._take)
                    deadline = time.monotonic() + CANCEL_S
                if deadline is not None and time.monotonic() > deadline:
                    self._models.drop(job.request.model)
                    self._cancelled()
                    return
                if not self._ended:
                    executor.step(lambda message: self._take(message, executor))
        except InterruptedRunError:
            if self._dropped:
                self._cancelled()
            self._service.queue.put_back(job.id)
            self._models.drop(job.request.model)
            raise
        except ItkInferError as error:
            self._models.drop(job.request.model)
            self._fail(str(error))
        except OSError as error:
            self._models.drop(job.request.model)
            self._fail(f"the files of the job cannot be written ({error.strerror}); is the disk full?")

    @property
    def _dropped(self) -> bool:
        """Whether a client has cancelled the job."""
        return self._job.id in self._service.cancelling

    def _make_case(self) -> Case:
        folder = Path(self._job.request.inputs[0])
        entry = self._service.catalogue.get(self._job.request.model)
        if folder.is_dir() and entry is not None and entry.info is not None:
            return series_case(folder, self._job.id, entry.info.input, self._service.settings.max_image)
        return _case_of_files(self._job)

    def _following(self) -> Case | None:
        """The case that probably comes next, for reading ahead: only of files, and for the same model."""
        job = self._service.queue.following()
        if job is None or job.request.model != self._job.request.model or Path(job.request.inputs[0]).is_dir():
            return None
        return _case_of_files(job)

    @property
    def _name(self) -> str:
        return self._job.id if self._case is None else self._case.name

    def _task(self, case: Case) -> Task:
        request = self._job.request
        names = [name for name in OUTPUTS if name == LABELS or name in request.save]
        paths = [self._folder / OUTPUTS[name].file_name(STEM, case.suffix, request.label_format) for name in names]
        wanted = tuple(zip(names, paths, strict=True))
        return Task(case, self._folder, wanted, lock=self._service.ticket)

    def _take(self, message: Message, executor: Workers | None = None) -> None:
        match message:
            case Reported():
                self._show(message.event)
            case Finished() if self._dropped:  # it was done before its worker knew
                for file in kept_files(self._folder, message.outputs).values():
                    remove(self._folder / file.file_name)
                self._cancelled()
            case Finished():
                self._finish(message)
            case Failed():
                self._fail(message.reason)
            case WorkerDied():
                self._retry_or_fail(message, executor)
            case Stopped() if self._dropped:
                self._cancelled()
            case Stopped():
                self._fail("the server no longer holds its folder; another one was started for it")

    def _retry_or_fail(self, died: WorkerDied, executor: Workers | None) -> None:
        self._deaths += 1
        if self._dropped:
            self._cancelled()
        elif self._deaths < MOST_ATTEMPTS and executor is not None and self._case is not None:
            self._show(Warned(f"{died.reason}; it is tried once more, in fp32 and one window per call"))
            executor.submit(replace(self._task(self._case), safer=True))
        else:
            self._fail(f"{died.reason}; the same happened before, so it is not tried again")

    # The event comes before the state: clients that see the ended job then find all its events.

    def _finish(self, message: Finished) -> None:
        files = kept_files(self._folder, message.outputs)
        results = message.results
        self._show(
            CaseDone(
                message.name,
                tuple(file.file_name for file in files.values()),
                message.seconds,
                results["confidence"],
                message.volumes_ml,
                results["seconds"],
                self._number,
            )
        )
        self._service.queue.finish(self._job.id, files, results)
        self._service.counters.done(results["seconds"], time.monotonic() - self._began)
        self._end()

    def _fail(self, reason: str) -> None:
        self._show(CaseFailed(self._name, reason, self._deaths + 1, self._number))
        self._service.queue.fail(self._job.id, reason)
        self._end()

    def _cancelled(self) -> None:
        self._show(CaseSkipped(self._name, "cancelled by a client"))
        self._service.queue.cancel(self._job.id, running=True)
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._service.cancelling.discard(self._job.id)
        self._service.forget_inputs(self._job)

    def _show(self, event: Event) -> None:
        self._log.append(to_json(event, self._job.id))


def _case_of_files(job: Job) -> Case:
    inputs = tuple(Path(path) for path in job.request.inputs)
    return Case(PurePosixPath("."), job.id, split_suffix(inputs[0].name)[1], inputs)
