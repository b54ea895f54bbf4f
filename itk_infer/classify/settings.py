"""What was asked of a run that classifies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itk_infer.classify.schema import DATABASE_NAME


@dataclass(frozen=True, slots=True)
class ClassifySettings:
    """Folders, and what is done with what is there.

    Attributes:
        input: Folder that is searched, with all folders below it; or one file.
        output: Folder of the results; created.
        database: Other place of `results.db`; None: in `output`.
        threshold: Replaces that of every label; None: that of the spec.
        batch: Pictures per call of the network; None: 4 on a CPU, 64 on a GPU.
        threads: Threads that decode and run the network; None: as many as cores may be used.
        overwrite: Compute everything again.
        save_members: Keep the probabilities of each member of an ensemble, too.
        forget_missing: Drop results of files that are no longer there.
    """

    input: Path
    output: Path
    database: Path | None = None
    threshold: float | None = None
    batch: int | None = None
    threads: int | None = None
    overwrite: bool = False
    save_members: bool = False
    forget_missing: bool = False

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
