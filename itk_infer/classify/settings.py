"""What was asked of a run that classifies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itk_infer.classify.schema import DATABASE_NAME
from itk_infer.machine import usable_cores
from itk_infer.options import BatchChoice


@dataclass(frozen=True, slots=True)
class ClassifySettings:
    """Folders, and what is done with what is there.

    Attributes:
        input: Folder that is searched, with all folders below it; or one file.
        output: Folder of the results; created.
        database: Other place of `results.db`; None: in `output`.
        threshold: Replaces that of every label; None: that of the spec.
        batch: Pictures per call of the network; ``auto``: found by timing; None: 4 on a CPU, ``auto`` on a GPU.
        threads: Threads that decode and run the network; None: as many as cores may be used.
        overwrite: Compute everything again.
        save_members: Keep the probabilities of each member of an ensemble, too.
        forget_missing: Drop results of files that are no longer there.
        batch_cache: Where ``auto`` remembers: a folder; True: the user's cache folder; False: nowhere.
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
        """Threads of this process."""
        return self.threads or usable_cores()

    @property
    def database_path(self) -> Path:
        """The file of the results."""
        return self.database or self.output / DATABASE_NAME

    @property
    def root(self) -> Path:
        """The folder that paths of files are relative to."""
        return self.input if self.input.is_dir() else self.input.parent

    def about(self) -> dict[str, Any]:
        """For the record of the run, JSON-ready."""
        return {
            "threshold": self.threshold,
            "batch": self.batch,
            "threads": self.threads,
            "overwrite": self.overwrite,
            "save_members": self.save_members,
        }
