"""The summary of each study of a node: a file beside its results, updated while these are sent."""

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
    """Writes the summaries of studies; thread-safe.

    Args:
        jobs: Folder of the jobs' folders, below that of the outbox.
        outbox: Outbox of the node.
    """

    def __init__(self, jobs: Path, outbox: Outbox) -> None:
        self._jobs = jobs
        self._outbox = outbox
        self._lock = threading.Lock()  # without it, an older state of the outbox could be written last

    def ended(self, job_id: str, study: str, state: str, reason: str) -> None:
        """Write the summary of a study that ended without a run: deleted, or without a series to segment."""
        path = self._jobs / job_id / SUMMARY
        if path.parent.is_dir() and not path.exists():
            with suppress(OutputError):  # the queue has the same data
                write_cases(path, [CaseSummary(study, state, reason)])

    def sent(self, paths: Iterable[str]) -> None:
        """Update the delivery state of the results in these files."""
        of_job: dict[str, list[Letter]] = {PurePosixPath(path).parts[1]: [] for path in paths}
        if not of_job:
            return
        with self._lock:
            for letter in self._outbox.letters():
                job = PurePosixPath(letter.path).parts[1]
                if job in of_job:
                    of_job[job].append(letter)
            for job, letters in of_job.items():
                with suppress(ConfigError, OutputError):  # deleted, or the disk is full: the outbox has the data
                    note_pushed(self._jobs / job / SUMMARY, letters, f"{self._jobs.name}/{job}/{OUT}/")

    def refresh(self) -> None:
        """Update all summaries, after a kill or a push by another process."""
        self.sent(letter.path for letter in self._outbox.letters())
