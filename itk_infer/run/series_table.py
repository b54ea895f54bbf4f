"""The DICOM series below a folder, and how a run would treat each: the table of ``itk_infer series``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from itk_infer.errors import InputError, NoInputError
from itk_infer.run.dicom_cases import studies_of
from itk_infer.run.passed_over import readable
from itk_infer.run.search import Search
from itk_infer.spec.series_rule import SeriesRule
from itk_infer.volume.dicom.choice import Candidate, candidates, chosen, rule_tags, verdict
from itk_infer.volume.dicom.series import Series, scan
from itk_infer.volume.names import printable


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """One series.

    Attributes:
        study: Number of its study, counted from 1 in the order of the folders.
        series: SeriesNumber; empty: none.
        folder: Its folder, below the folder that was searched.
        description: SeriesDescription.
        modality: Modality.
        plane: ``axial``, ``sagittal``, ``coronal``, ``oblique``, or empty.
        files: Number of its files.
        size: Size of its volume in voxels, Z Y X; empty if it is not a volume.
        spacing: Distance of slices in mm; None: unknown.
        state: ``chosen``: it would be segmented; ``candidate``: it could be; ``refused``; ``aside``: it never is.
        verdict: Why, as a phrase.
    """

    study: int
    series: str
    folder: str
    description: str
    modality: str
    plane: str
    files: int
    size: tuple[int, ...]
    spacing: float | None
    state: str
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-ready mapping."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class SeriesTable:
    """All series below a folder.

    Attributes:
        rows: Series by study.
        others: Names of files that are not DICOM, or damaged; one name for several of a kind in a folder.
        other_files: Number of these files.
    """

    rows: tuple[SeriesRow, ...]
    others: tuple[str, ...]
    other_files: int


def series_table(folder: Path, rules: Sequence[SeriesRule] = ()) -> SeriesTable:
    """Read the headers of all DICOM files below a folder.

    Args:
        folder: The folder, or one file.
        rules: Rules for the channels of a model; a series is chosen if one of them selects it.

    Raises:
        NoInputError: there is no DICOM series.
        ConfigError: the folder cannot be searched.
    """
    search = Search(None, recursive=True)
    search.look_at(folder)
    others = [item.name for item in search.passed] + [readable(path) for path in search.others]
    found = scan([path for _, path in search.dicom], rule_tags(rules))
    root = folder if folder.is_dir() else folder.parent
    others += [readable(path.relative_to(root).as_posix()) for path, _ in found.damaged]
    count = len(others) + sum(item.files - 1 for item in search.passed)
    if not found.series:
        there = f"; {count} other file{'s were' if count > 1 else ' was'} passed over" if count else ""
        raise NoInputError(f"{folder}: no DICOM series is there{there}; give the folder that holds one")
    rows = [
        row
        for number, study in enumerate(studies_of(found), 1)
        for row in _rows(number, study, rules or (None,), root)
    ]
    return SeriesTable(tuple(rows), tuple(others), count)


def _rows(number: int, study: Sequence[Series], rules: Sequence[SeriesRule | None], root: Path) -> list[SeriesRow]:
    picked: dict[int, str] = {}
    why_not: dict[int, str] = {}
    for rule in rules:
        found = candidates(study, rule)
        try:
            choice = chosen(found, rule)
            instances = rule.instances if rule else ()
            picked[id(choice.series)] = verdict(choice, instances)[0]
        except InputError:
            fitting = [item for item in found if not item.failed]
            for item in fitting:
                why_not[id(item.series)] = "one of several that may be meant; a rule has to choose"
        for item in found:
            if item.failed:
                why_not.setdefault(id(item.series), f"not chosen: not so that {item.failed[0]}")
            elif id(item.series) not in picked:
                why_not.setdefault(id(item.series), "not chosen: the rule prefers another")
    return [_row(number, series, picked, why_not, root) for series in study]


def _row(number: int, series: Series, picked: dict[int, str], why_not: dict[int, str], root: Path) -> SeriesRow:
    (item, *_) = [*candidates([series], None), Candidate(series, "", None)]
    problem, size = ("", ()) if series.aside else verdict(item)
    if series.aside:
        state, words = "aside", f"{series.aside}: never segmented"
    elif id(series) in picked:
        problem = picked[id(series)]
        state, words = ("refused", problem) if problem else ("chosen", "can be segmented")
    elif problem:
        state, words = "refused", problem
    else:
        state, words = "candidate", why_not[id(series)]
    return SeriesRow(
        number,
        series.number,
        printable(readable(series.folder.relative_to(root).as_posix())),
        printable(series.first.text("SeriesDescription"))[:64],
        printable(series.first.text("Modality"))[:16],
        item.plane,
        len(series.files),
        size,
        item.spacing,
        state,
        words,
    )
