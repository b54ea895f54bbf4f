"""The interface of outputs that are made from the ledger, after the last case."""

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
        confidence: Mean confidence over all voxels, 0 to 1; None if unknown.
        confidence_foreground: Mean confidence over voxels with a label; None if unknown.
        confidence_per_label: Mean confidence by label name.
        volumes_ml: Volume by label name, in millilitres.
        review: Reasons for review; empty if there are none.
        mask: Path of the label map, below the output folder; empty if there is none.
        label_table: Name of the file with its label table.
        soft_dice: Soft Dice of the worst label, 0 to 1; 0 if a label is missing that most cases have; None if
            unknown.
        worst_label: Name of the worst label; empty if unknown.
        soft_dice_per_label: Soft Dice by label name.
        expected_ml: Expected volume by label name, in millilitres.
        components: Number of connected components by label name.
        outside_largest: Share of voxels outside the largest component, by label name.
        picture: Path of its picture, below the output folder; empty if there is none.
        picture_sha256: Digest of that file.
        verdict: Verdict of a calibration, as text; empty without one.
        agreement: Lowest agreement of a label, the mean Dice of pairs of the model's members, 0 to 1; None
            without members.
        agreement_per_label: Agreement by label name.
        mutual_information: Mutual information, mean over voxels with a label, 0 to 1; None without members.
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
        """The sort key: the agreement of the members, else the soft Dice of the worst label; None if unknown."""
        known = (value for value in (self.agreement, self.soft_dice) if value is not None)
        return next((value for value in known if math.isfinite(value)), None)

    @property
    def word(self) -> str:
        """The verdict in one word: that of a calibration, else ``look first`` if there is a reason, else empty."""
        word = self.verdict.partition(":")[0]
        return word if word in ("accept", "review", "reject") else "look first" if self.review else ""


@dataclass(frozen=True, slots=True)
class MaskFacts:
    """Entries of the report on a mask, besides its measurements.

    Attributes:
        sha256: SHA-256 of the mask as it is now; empty if there is none.
        picture: Path of a picture of the case, below the output folder, with slashes; empty if there is none.
        picture_stamp: Size and time of the picture, which determine whether the report is up to date.
        seconds: Seconds by stage.
        ended: Time of the measurement, ISO 8601; empty if unknown.
        verdict: Decision of a reviewer on this mask; empty if there is none.
        who: Name of the reviewer.
        time: Time of the decision, ISO 8601.
        note: Note of the reviewer.
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
    """Entries of the report on a run.

    Attributes:
        started: Time of the start, ISO 8601.
        ended: Time of the end, ISO 8601; empty while it is running.
        command: The words of its command line; empty if it was started from Python.
        versions: Versions by package.
        device: Device that ran the network.
        model: Name and version of the model.
    """

    started: str
    ended: str = ""
    command: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class FolderView:
    """The content of the ledger and the masks of a folder.

    Attributes:
        rows: One row per mask.
        schemes: Label tables by file name; several if masks give a value different meanings.
        folder: Output folder, where pictures are; None: there are none.
        facts: Further entries by path of the mask; only for reports.
        runs: Runs, oldest first; only for reports.
        failed: Reasons by name of the failed case.
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
        content: What determines the file, JSON-ready: the file is written again when it changes.
        write: Writes the file, after an intent.
    """

    content: tuple[object, ...]
    write: Callable[[Path], None]
