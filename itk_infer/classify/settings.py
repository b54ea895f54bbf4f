"""Settings of a run that classifies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itk_infer.classify.schema import DATABASE_NAME
from itk_infer.machine import usable_cores
from itk_infer.options import BatchChoice


@dataclass(frozen=True, slots=True)
class ClassifySettings:
    """Folders, and options of the run.

    Attributes:
        input: Folder that is searched with all its subfolders; or one file.
        output: Folder of the results; created if missing.
        database: Path of `results.db`; None: in `output`.
        threshold: Replaces the thresholds of all labels; None: those of the spec.
        batch: Pictures per call of the network; ``auto``: found by timing; None: 12 on a CPU, 4 of
            large pictures, ``auto`` on a GPU.
        threads: Threads that decode pictures and run the network; None: as many as usable cores.
        overwrite: Compute everything again.
        save_members: Also store the probabilities of each member of an ensemble.
        forget_missing: Delete results of files that no longer exist.
        batch_cache: Folder where ``auto`` keeps its results; True: the user's cache folder; False: none.
    """

    input: Path
    output: Path
    database: Path | None = None
    threshold: float | None = None
    batch: BatchChoice | None = None
    threads: int | None = None
    overwrite: bool = False
    save_members: bool = False
    forget_missing: bool = False
    batch_cache: bool | Path = True

    @property
    def own_threads(self) -> int:
        """Number of threads of this process."""
        return self.threads or usable_cores()

    @property
    def database_path(self) -> Path:
        """Path of `results.db`."""
        return self.database or self.output / DATABASE_NAME

    @property
    def root(self) -> Path:
        """Folder that paths of files are relative to."""
        return self.input if self.input.is_dir() else self.input.parent

    def about(self) -> dict[str, Any]:
        """The settings for the database's record of the run, JSON-ready."""
        return {
            "threshold": self.threshold,
            "batch": self.batch,
            "threads": self.threads,
            "overwrite": self.overwrite,
            "save_members": self.save_members,
        }
