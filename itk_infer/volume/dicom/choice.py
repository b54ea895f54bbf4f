"""Chooses the series of a study to segment: by a rule, or because there is only one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from itk_infer.errors import InputError
from itk_infer.spec.dicom_keywords import VIRTUAL, tag_of
from itk_infer.spec.series_rule import Condition, SeriesRule
from itk_infer.volume.dicom.elements import looks_like_dicom
from itk_infer.volume.dicom.frames import Frame
from itk_infer.volume.dicom.geometry import plane_of
from itk_infer.volume.dicom.reading import chosen_frames, plan_of
from itk_infer.volume.dicom.series import Series, scan
from itk_infer.volume.dicom.series_files import SeriesFiles
from itk_infer.volume.names import printable

NO_FIT = "no series of its study fits the rule"
NAMED = 12  # most series in a message


@dataclass(frozen=True, slots=True)
class Candidate:
    """A series that may be chosen, with the attributes that rules and tables use.

    Attributes:
        series: The series.
        plane: ``axial``, ``sagittal``, ``coronal``, ``oblique``, or empty: unknown.
        spacing: Millimetres between slices; None if unknown.
        failed: Conditions of the rule that it does not meet.
    """

    series: Series
    plane: str
    spacing: float | None
    failed: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The series as a short phrase for messages."""
        first = self.series.first
        number = f"series {self.series.number} " if self.series.number else ""
        size = f"{self.series.slices} {self.plane} slices".replace("  ", " ")
        spacing = f" of {self.spacing:.3g} mm" if self.spacing else ""
        text = printable(first.text("SeriesDescription"))[:60]
        return f"{number}'{text}' ({printable(first.text('Modality'))[:16]}, {size}{spacing})"


def candidates(series: Iterable[Series], rule: SeriesRule | None) -> list[Candidate]:
    """The series of a study that may be segmented, each with the conditions of a rule that it does not meet."""
    return [_candidate(item, rule) for item in series if not item.aside]


def chosen(found: Sequence[Candidate], rule: SeriesRule | None) -> Candidate:
    """The one series to segment.

    Raises:
        InputError: no series meets the conditions, or several do; the message names all candidates.
    """
    fitting = [item for item in found if not item.failed]
    for preference in rule.prefer if rule else ():
        if len(fitting) < 2:
            break
        values = [_rank(item, preference) for item in fitting]
        fitting = [item for item, value in zip(fitting, values, strict=True) if value == min(values)]
    if len(fitting) == 1:
        return fitting[0]
    if rule is None:
        listed = _listed([item.label for item in found])
        raise InputError(
            f"its study holds {len(found)} series that may be meant: {listed}; say which with a rule, `series`"
        )
    if not fitting:
        listed = _listed([f"{item.label}: not so that {item.failed[0]}" for item in found]) or "there is none"
        raise InputError(f"{NO_FIT}: {listed}; change the rule, or leave the study out")
    listed = _listed([item.label for item in fitting])
    raise InputError(
        f"{len(fitting)} series of its study fit the rule: {listed}; add a condition, or what to prefer"
    )


def series_in(folder: Path, rule: SeriesRule | None) -> SeriesFiles:
    """The one series to segment of all below a folder.

    Raises:
        InputError: there is no such series, there are several, or the series cannot be read.
    """
    found = scan(
        (path for path in sorted(folder.rglob("*")) if path.is_file() and _is_dicom(path)),
        rule_tags([rule] if rule else []),
    )
    choices = candidates(found.series, rule)
    if not choices:
        raise InputError("holds no DICOM series that can be segmented; give the folder of one")
    if found.damaged:
        path, why = found.damaged[0]
        raise InputError(f"{printable(path.name)} {why}, and may be one of its slices; copy it again or remove it")
    item = chosen(choices, rule)
    if item.series.problem:
        raise InputError(item.series.problem)
    files = tuple(file.path for file in item.series.files)
    return SeriesFiles(files, rule.instances, rule.values) if rule else SeriesFiles(files)


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return looks_like_dicom(file.read(1024))
    except OSError:
        return False


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - NAMED} more" if len(words) > NAMED else ""
    return ", ".join(words[:NAMED]) + more


def rule_tags(rules: Iterable[SeriesRule]) -> frozenset[int]:
    """Tags of the attributes that rules use."""
    conditions = [item for rule in rules for item in (*rule.all, *rule.any, *rule.instances)]
    return frozenset(tag for tag in (tag_of(item.keyword) for item in conditions) if tag is not None)


def _candidate(series: Series, rule: SeriesRule | None) -> Candidate:
    try:
        frames = chosen_frames(series.files)
    except InputError:
        frames = []
    item = Candidate(series, plane_of(frames[0]) if frames else "", _spacing(frames))
    if rule is None:
        return item
    failed = [condition.words for condition in rule.all if not _holds(condition, item)]
    if rule.any and not any(_holds(condition, item) for condition in rule.any):
        failed.append(" or ".join(condition.words for condition in rule.any))
    if rule.instances and not failed:
        try:
            chosen_frames(series.files, rule.instances)
        except InputError:
            failed.append(" and ".join(condition.words for condition in rule.instances))
    return Candidate(series, item.plane, item.spacing, tuple(failed))


def _holds(condition: Condition, item: Candidate) -> bool:
    if condition.keyword not in VIRTUAL:
        tag = tag_of(condition.keyword) or 0
        return condition.holds(item.series.first.values(tag))
    return condition.holds([_virtual(condition.keyword, item)])


def _virtual(keyword: str, item: Candidate) -> str:
    first = item.series.first
    if keyword == "slices":
        return str(item.series.slices)
    if keyword == "plane":
        return item.plane
    if keyword == "contrast":
        is_named = "+c" in first.text("SeriesDescription").casefold().replace(" ", "")
        return "yes" if first.text("ContrastBolusAgent") or is_named else "no"
    if item.spacing is None:
        return ""
    return str(item.spacing if keyword == "spacing" else item.spacing * (item.series.slices - 1))


def _spacing(frames: Sequence[Frame]) -> float | None:
    """Median distance between slices along their normal, mm; None if unknown."""
    positions = [frame.position for frame in frames if frame.position is not None]
    if len(positions) < 2 or frames[0].orientation is None:
        return None
    orientation = np.asarray(frames[0].orientation)
    along = np.sort(np.asarray(positions) @ np.cross(orientation[:3], orientation[3:]))
    return round(float(np.median(np.diff(along))), 6)


def _rank(item: Candidate, preference: str) -> float:
    if preference == "most_slices":
        return -item.series.slices
    return item.spacing if item.spacing is not None else float("inf")


def verdict(candidate: Candidate, instances: Sequence[Condition] = ()) -> tuple[str, tuple[int, ...]]:
    """Reason why a series cannot be read, empty if its headers are valid; and its size, Z Y X."""
    if candidate.series.problem:
        return candidate.series.problem, ()
    try:
        return "", plan_of(candidate.series.files, instances).stack.grid.size
    except InputError as error:
        return str(error), ()
