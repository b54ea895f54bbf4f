"""The result of a run that classifies a folder."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class ClassifySummary:
    """The result of a run.

    Attributes:
        done: Number of files classified in this run.
        images: Number of pictures in them.
        up_to_date: Number of files that had results of this model already.
        failed: Number of files that could not be read, in this run.
        skipped: Number of files without pictures, in this run.
        unchanged: Number of files that were copied or touched, and have results for the same content.
        reasons: The first failures, by path.
        seconds: Wall time in seconds.
        exit_code: Exit code of the command.
        problem: Why the run ended early; empty if it did not.
        copies: Number of images that are copies of others, and counted there.
        conflicts: Number of images with the UID of a different picture.
    """

    done: int = 0
    images: int = 0
    up_to_date: int = 0
    failed: int = 0
    skipped: int = 0
    unchanged: int = 0
    reasons: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    exit_code: int = 0
    problem: str = ""
    copies: int = 0
    conflicts: int = 0
