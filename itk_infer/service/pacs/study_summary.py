"""The summary of each study of a node: a file beside its results, kept up to date while these are sent."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath

from itk_infer.errors import ConfigError, OutputError
from itk_infer.run.summary_file import CaseSummary, write_cases
from itk_infer.service.pacs.outbox import Letter, Outbox
from itk_infer.service.pacs.push import note_pushed
from itk_infer.service.pacs.study_run import OUT, SUMMARY


class StudySummaries:
    """See the module; for any thread.

    Args:
        jobs: The folder that holds those of the jobs, below the one of the outbox.
        outbox: Of the node.
    """

    def __init__(self, jobs: Path, outbox: Outbox) -> None:
        self._jobs = jobs
        self._outbox = outbox
        self._lock = threading.Lock()  # else an older state of the outbox could be written last

    def ended(self, job_id: str, study: str, state: str, reason: str) -> None:
        """Write the summary of a study whose end came before any run: lost, or without a series to segment."""
        path = self._jobs / job_id / SUMMARY
        if path.parent.is_dir() and not path.exists():
            with suppress(OutputError):  # the queue has it, too
                write_cases(path, [CaseSummary(study, state, reason)])

    def sent(self, paths: Iterable[str]) -> None:
        """Note how far the results in these files, of letters, have come."""
        of_job: dict[str, list[Letter]] = {PurePosixPath(path).parts[1]: [] for path in paths}
        if not of_job:
            return
        with self._lock:
            for letter in self._outbox.letters():
                job = PurePosixPath(letter.path).parts[1]
                if job in of_job:
                    of_job[job].append(letter)
            for job, letters in of_job.items():
                with suppress(ConfigError, OutputError):  # it is gone, or the disk is full: the outbox has it
                    note_pushed(self._jobs / job / SUMMARY, letters, f"{self._jobs.name}/{job}/{OUT}/")

    def refresh(self) -> None:
        """Bring all up to date, after a kill or a push of other programs."""
        self.sent(letter.path for letter in self._outbox.letters())
