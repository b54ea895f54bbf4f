"""Results of files and pictures, as threads and workers report them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from itk_infer.volume.picture_input.picture import PictureFacts

State = Literal["done", "failed", "skipped", "unchanged"]


@dataclass(frozen=True, slots=True)
class ImageDone:
    """A picture with its probabilities; all sequences are in the order of the labels.

    Attributes:
        frame: Number of the frame in its file, from 0.
        probabilities: One per label.
        logits: One per label; None if not available.
        std: Standard deviation over the members of an ensemble; None for a single network.
        members: Probabilities of each member of an ensemble.
    """

    frame: int
    probabilities: Sequence[float]
    logits: Sequence[float] | None
    std: Sequence[float] | None
    members: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class FileDone:
    """The result of a file.

    Attributes:
        file: Row id of the file in the database.
        path: Path relative to the input.
        state: State of the file; ``unchanged``: its content is the one of the stored results.
        study: StudyInstanceUID, or ``folder:`` followed by the folder.
        reason: Why the file failed or was skipped.
        note: A warning about a file that was classified.
        sha256: Digest of the file's content; None if it could not be read.
        facts: Attributes from the file's header.
        images: The pictures of the file, if it was classified.
    """

    file: int
    path: str
    state: State
    study: str
    reason: str = ""
    note: str = ""
    sha256: str | None = None
    facts: PictureFacts = field(default_factory=PictureFacts)
    images: tuple[ImageDone, ...] = field(default=())
