"""The seam of the outputs that are made from the ledger, after the last case."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from itk_infer.spec import Label


@dataclass(frozen=True, slots=True)
class CaseRow:
    """One mask of the folder.

    Attributes:
        file: The input file's name, as given.
        confidence: 0 to 1, over all voxels; None if unknown.
        confidence_foreground: The same over the voxels that bear a label.
        confidence_per_label: By label name.
        volumes_ml: By label name, in millilitres.
        review: Why it should be looked at; empty if there is no reason.
        mask: The label map that the numbers are of, below the output folder; empty if there is none.
        label_table: The file that says what its values mean.
        soft_dice: Of the worst label, 0 to 1: the sort key. 0 where a label is missing that most cases have; None
            if unknown.
        worst_label: Its name; empty if unknown.
        soft_dice_per_label: By label name.
        expected_ml: Expected volume by label name, in millilitres.
        components: Connected components by label name.
        outside_largest: Share of voxels outside the largest of them, by label name.
        picture: Its picture, below the output folder; empty if there is none.
        picture_sha256: Digest of that file.
        verdict: What a calibration says of it, in words; empty without one.
        agreement: Mean Dice of pairs of the model's members, of the label where it is lowest, 0 to 1; None where
            there are no members.
        agreement_per_label: By label name.
        mutual_information: Of the members and the label, mean over the voxels with a label, 0 to 1; None likewise.
    """

    file: str
    confidence: float | None
    confidence_foreground: float | None
    confidence_per_label: dict[str, float | None] = field(default_factory=dict)
    volumes_ml: dict[str, float] = field(default_factory=dict)
    review: str = ""
    mask: str = ""
    label_table: str = ""
    soft_dice: float | None = None
    worst_label: str = ""
    soft_dice_per_label: dict[str, float | None] = field(default_factory=dict)
    expected_ml: dict[str, float | None] = field(default_factory=dict)
    components: dict[str, int | None] = field(default_factory=dict)
    outside_largest: dict[str, float | None] = field(default_factory=dict)
    picture: str = ""
    picture_sha256: str = ""
    verdict: str = ""
    agreement: float | None = None
    agreement_per_label: dict[str, float | None] = field(default_factory=dict)
    mutual_information: float | None = None

    @property
    def certainty(self) -> float | None:
        """The sort key: how far the members agree, else the soft Dice of the worst label; None if unknown."""
        known = (value for value in (self.agreement, self.soft_dice) if value is not None)
        return next((value for value in known if math.isfinite(value)), None)

    @property
    def word(self) -> str:
        """The verdict in one word: that of a calibration, else whether there is a reason to look; else empty."""
        word = self.verdict.partition(":")[0]
        return word if word in ("accept", "review", "reject") else "look first" if self.review else ""


@dataclass(frozen=True, slots=True)
class MaskFacts:
    """What the report says of a mask beside its measurements.

    Attributes:
        sha256: Of the mask as it is now; empty if there is none.
        picture: A picture of the case, below the output folder, with slashes; empty if there is none.
        picture_stamp: Its size and time of change, which decide whether the report is up to date.
        seconds: Time spent, by stage.
        ended: When it was measured, ISO 8601; empty if unknown.
        verdict: What a person decided about this very mask; empty if nothing.
        who: The person.
        time: When, ISO 8601.
        note: The person's note.
    """

    sha256: str = ""
    picture: str = ""
    picture_stamp: tuple[int, int] = (0, 0)
    seconds: Mapping[str, float] = field(default_factory=dict)
    ended: str = ""
    verdict: str = ""
    who: str = ""
    time: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the report says of a run.

    Attributes:
        started: ISO 8601.
        ended: The same; empty while it is at work.
        command: The words of its command line; empty if it was started from Python.
        versions: Of the packages, by name.
        device: What computed.
        model: Name and version, as the model has them.
    """

    started: str
    ended: str = ""
    command: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class FolderView:
    """What the ledger and the masks of a folder hold.

    Attributes:
        rows: One per mask.
        schemes: Label tables by file name; more than one where masks disagree about what a value means.
        folder: Output folder, where pictures are; None: there are none.
        facts: Of masks, by path; only where a report is asked for.
        runs: Oldest first; only where a report is asked for.
        failed: Why, by name of the case.
    """

    rows: Sequence[CaseRow]
    schemes: Mapping[str, Sequence[Label]]
    folder: Path | None = None
    facts: Mapping[str, MaskFacts] = field(default_factory=dict)
    runs: Sequence[RunFacts] = ()
    failed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Table:
    """One file to write.

    Attributes:
        content: All that decides the file, JSON-ready: the file is written anew when it changes.
        write: Writes the file, with an intent.
    """

    content: tuple[object, ...]
    write: Callable[[Path], None]
