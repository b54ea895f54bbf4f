"""The decision of a reviewer about a mask."""

from __future__ import annotations

from dataclasses import dataclass

from itk_infer.errors import ConfigError

VERDICTS = ("accept", "review", "reject")
MAX_NOTE = 10_000  # characters


@dataclass(frozen=True, slots=True)
class Review:
    """One decision, which is valid only for the mask with this content.

    Attributes:
        path: Path of the mask below the output folder, with slashes.
        sha256: SHA-256 of the mask's file when it was reviewed.
        case: Name of its case.
        verdict: One of `VERDICTS`.
        who: Name of the reviewer, as given; may be empty.
        time: Time of the decision, ISO 8601.
        note: Free text; may be empty.

    Raises:
        ConfigError: the verdict is not one of `VERDICTS`, or the note is too long.
    """

    path: str
    sha256: str
    case: str
    verdict: str
    who: str = ""
    time: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ConfigError(f"verdict {self.verdict!r}: write one of {', '.join(VERDICTS)}")
        if len(self.note) + len(self.who) > MAX_NOTE:
            raise ConfigError(f"the note on {self.path} has more than {MAX_NOTE} characters; shorten it")
