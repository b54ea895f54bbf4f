"""The seam of the outputs that are made from the ledger, after the last case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from itk_infer.spec import Label


@dataclass(frozen=True, slots=True)
class CaseRow:
    """One mask of the folder.

    Attributes:
        file: Input, as the person knows it.
        confidence: 0 to 1, over all voxels; None if unknown.
        confidence_foreground: The same over the voxels that bear a label.
        confidence_per_label: By label name.
        volumes_ml: By label name, in millilitres.
        review: Why someone should look at it; empty if there is no reason.
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


@dataclass(frozen=True, slots=True)
class FolderView:
    """What the ledger and the masks of a folder hold.

    Attributes:
        rows: One per mask.
        schemes: Label tables by file name; more than one where masks disagree about what a value means.
    """

    rows: Sequence[CaseRow]
    schemes: Mapping[str, Sequence[Label]]


@dataclass(frozen=True, slots=True)
class Table:
    """One file to write.

    Attributes:
        content: All that decides the file, JSON-ready: the file is written anew when it changes.
        write: Writes the file, with a claim.
    """

    content: tuple[object, ...]
    write: Callable[[Path], None]
