"""Inputs that are not segmented: images of formats that are not read, results of earlier runs, label maps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from itk_infer.volume.other_formats import OtherFormat

NAMED = 3  # names in a sentence, of each sort
UNREAD, LABELS, ASIDE = "unread", "labels", "aside"
LABELS_REMEDY = "give it as `input` to segment it"


@dataclass(frozen=True, slots=True)
class PassedOver:
    """One input that is not segmented, or slices of a folder that belong to the same images.

    Attributes:
        name: Path below the input folder; for several files, that of the first.
        sort: `UNREAD`, `LABELS`, or `ASIDE`: DICOM objects that are never segmented.
        what: What it is, as a phrase.
        plural: The phrase for several of its kind.
        remedy: What to do, as an imperative.
        files: Number of its files.
        slices: Whether the files are slices, each of which counts as an input.
    """

    name: str
    sort: str
    what: str
    plural: str
    remedy: str
    files: int = 1
    slices: bool = False

    @property
    def count(self) -> int:
        """The number of inputs it counts for."""
        return self.files if self.slices else 1

    @property
    def reason(self) -> str:
        """Why it is skipped, in a sentence."""
        if self.sort == ASIDE:
            return f"{self.what}, {self.files} file{'s' if self.files > 1 else ''}: {self.remedy}"
        what = self.what if self.count == 1 else f"{self.plural}, {self.files} files"
        return f"{what}, not read; {self.remedy}" if self.sort == UNREAD else f"{what}; {self.remedy}"


def unread(below: PurePosixPath, names: Sequence[str], form: OtherFormat) -> PassedOver:
    """Describe files of a folder in a format that is not read: those of one image, or slices."""
    name = readable(below / names[0])
    return PassedOver(name, UNREAD, form.name, form.plural, form.remedy, len(names), form.slices)


def label_map(path: PurePosixPath, what: str) -> PassedOver:
    """Describe a result of this program, or a label map of another one."""
    return PassedOver(readable(path), LABELS, what, what, LABELS_REMEDY)


def readable(path: PurePosixPath | str) -> str:
    """Convert a path to text that can be encoded, even if its bytes are not valid."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def sentences(passed: Sequence[PassedOver]) -> list[str]:
    """Summarise inputs in at most three sentences: numbers, kinds, the first names, and what to do."""
    found = []
    others = [item for item in passed if item.sort == UNREAD]
    if others:
        files = sum(item.files for item in others)
        found.append(
            f"skipped {files} file{'s that are' if files > 1 else ' that is'} not read: {_listed(others)}"
        )
    labels = [item for item in passed if item.sort == LABELS]
    if labels:
        s = "s" if len(labels) > 1 else ""
        found.append(f"skipped {len(labels)} label map{s} or earlier result{s}: {_listed(labels)}")
    apart = [item for item in passed if item.sort == ASIDE]
    if apart:
        named = ", ".join(f"{item.name} ({item.what})" for item in apart[:NAMED])
        more = f" and {len(apart) - NAMED} more" if len(apart) > NAMED else ""
        found.append(
            f"set aside {len(apart)} DICOM series that {'are' if len(apart) > 1 else 'is'} no case: {named}{more}"
        )
    return found


def _listed(items: Sequence[PassedOver]) -> str:
    kinds: dict[tuple[str, str], list[PassedOver]] = {}
    for item in items:
        kinds.setdefault((item.plural, item.remedy), []).append(item)
    return "; ".join(_kind(plural, remedy, group) for (plural, remedy), group in kinds.items())


def _kind(plural: str, remedy: str, group: Sequence[PassedOver]) -> str:
    names = ", ".join(item.name for item in group[:NAMED])
    count = sum(item.count for item in group)
    more = count - min(len(group), NAMED)
    return f"{names}{f' and {more} more' if more else ''} ({plural if count > 1 else group[0].what}: {remedy})"
