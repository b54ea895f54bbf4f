"""Processes one study: copies its files, runs the model, adds results to the outbox. Steps are repeatable."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path
from typing import Any

from itk_infer.errors import InterruptedRunError, NoInputError
from itk_infer.events import Event, Events, Warned
from itk_infer.executors.executor import Executor
from itk_infer.files.commit import remove
from itk_infer.run.folder import run_cases
from itk_infer.run.ledger import Ledger
from itk_infer.run.settings import RunSettings
from itk_infer.service.job import Job
from itk_infer.service.pacs.node_settings import NodeSettings
from itk_infer.service.pacs.objects import results_in
from itk_infer.service.pacs.outbox import Outbox
from itk_infer.service.pacs.source import Source, key_of
from itk_infer.volume.dicom.choice import NO_FIT

IN, OUT, SUMMARY = "in", "out", "summary.json"


class Superseded(Exception):
    """The study has changed since the job was made: instances were added or removed."""


class Unfinished(Exception):
    """The run ended before its cases were finished."""


class Gone(Exception):
    """The source has no instance of the study any more."""


class StudyRun:
    """Processes one study, see the module.

    Args:
        settings: Settings of the node.
        source: Source of the study.
        outbox: Receives the results.
        folder: Folder of the job.
        job: The job; its name is the study's identifier.
        tell: Called with sentences for the administrator.
    """

    def __init__(
        self,
        settings: NodeSettings,
        source: Source,
        outbox: Outbox,
        folder: Path,
        job: Job,
        tell: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._source = source
        self._outbox = outbox
        self._folder = folder
        self._job = job
        self._tell = tell

    def fetch(self, unwanted: Collection[str]) -> None:
        """Copy the files of the study into the job's folder.

        Args:
            unwanted: SOPInstanceUIDs of this program's results.

        Raises:
            Unavailable: the source cannot be reached at present.
            Superseded: the study has changed since the job was made.
            Gone: the source has no instance of it.
            OSError: the files cannot be written.
        """
        uids = self._source.fetch(self._job.request.name, self._input / self._job.request.name, unwanted)
        if not uids:
            raise Gone
        if key_of(uids) != self._job.request.digest:
            raise Superseded

    def compute(self, executor: Executor) -> tuple[bool, str, dict[str, Any]]:
        """Segment the study, and add its results to the outbox.

        Returns:
            Whether it succeeded, why not (or what was skipped), and the results to store.

        Raises:
            InterruptedRunError: the node is stopping.
            Unfinished: the case was dropped.
            ItkInferError: the model cannot be loaded, or the folders cannot be used.
        """
        settings = RunSettings(
            self._input,
            self._output,
            format=self._settings.format,
            save=self._settings.save,
            series=self._settings.series,
            summary=self._folder / SUMMARY,
        )
        try:
            summary = run_cases(executor, settings, Events([self._listen]))
        except NoInputError:
            return True, "", {"skipped": "it holds no series that can be segmented"}
        if summary.exit_code > 128:
            raise InterruptedRunError(summary.exit_code - 128)
        if summary.problem:
            return False, summary.problem, {}
        if summary.failed and all(reason.startswith(NO_FIT) for reason in summary.failed.values()):
            return True, "", {"skipped": NO_FIT}
        if summary.failed:
            return False, "; ".join(summary.failed.values()), {}
        with closing(Ledger(self._output, read_only=True)) as ledger:
            records = ledger.cases().values()
        if any(record.state not in ("done", "skipped") for record in records):
            raise Unfinished
        objects = results_in(self._output)
        new = self._outbox.put(objects, self._settings.send)
        if self._settings.send and not objects:
            self._tell(f"{self._job.request.name}: nothing to send: the run wrote no DICOM objects")
        findings = [item for record in records if record.results for item in record.results["findings"]]
        volumes = {item["name"]: item["volume_ml"] for item in findings}
        results = {"volumes_ml": volumes, "objects": len(objects), "put": new, "seconds": summary.seconds}
        return True, "", results

    def drop_input(self) -> None:
        """Delete the copied files of the study."""
        remove(self._input)

    @property
    def _input(self) -> Path:
        return self._folder / IN

    @property
    def _output(self) -> Path:
        return self._folder / OUT

    def _listen(self, event: Event) -> None:
        name = self._job.request.name
        if isinstance(event, Warned):
            self._tell(f"{name}: warning: {event.message.removeprefix(f'{name}: ')}")
