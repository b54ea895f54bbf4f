"""What threads that classify report of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from itk_infer.volume.picture_input.picture import PictureFacts

State = Literal["done", "failed", "skipped", "unchanged"]


@dataclass(frozen=True, slots=True)
class ImageDone:
    """A picture with its probabilities; all lists are in the order of the labels.

    Attributes:
        frame: Its number in the file, from 0.
        sha256: Of its decoded values.
        probabilities: One per label.
        logits: None: there are none.
        std: Over the members of an ensemble; None: it is none.
        members: Probabilities of each member.
    """

    frame: int
    sha256: str
    probabilities: Sequence[float]
    logits: Sequence[float] | None
    std: Sequence[float] | None
    members: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class FileDone:
    """What became of a file.

    Attributes:
        file: Its row in the database.
        path: Relative to the input.
        state: ``unchanged``: its content is that of which there are results.
        study: StudyInstanceUID, or ``folder:`` and its folder.
        reason: Why it failed or was skipped.
        note: A warning about a file that is done.
        sha256: Of its content; None where it could not be read.
        facts: What it says of itself.
        images: Its pictures, if it is done.
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
