"""DICOM series as cases: one per study, named after its folder or by attributes that the user chose."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from itk_infer.case.case import Case
from itk_infer.errors import ConfigError, InputError
from itk_infer.run.passed_over import ASIDE, NAMED, PassedOver, readable, unread
from itk_infer.spec import InputSpec
from itk_infer.spec.dicom_keywords import KEYWORDS, tag_of
from itk_infer.spec.series_rule import SeriesRule
from itk_infer.volume.dicom.choice import Candidate, candidates, chosen, rule_tags, verdict
from itk_infer.volume.dicom.series import Scan, Series, scan
from itk_infer.volume.dicom.series_files import SeriesFiles
from itk_infer.volume.dicom.uptake import suv_factor
from itk_infer.volume.names import printable
from itk_infer.volume.other_formats import DAMAGED_DICOM, DICOM

FIELD = re.compile(r"\{([^{}]*)\}")
UNSAFE = re.compile(r"[^\w.+-]+", re.ASCII)
LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class DicomInputs:
    """The cases in DICOM files.

    Attributes:
        cases: One case per study, perhaps with a problem.
        passed: Files that are not cases: other objects, and damaged files.
        notes: Sentences about files that were left out within series.
        series: Number of series.
    """

    cases: tuple[Case, ...]
    passed: tuple[PassedOver, ...]
    notes: tuple[str, ...]
    series: int


def dicom_cases(
    source: Path,
    files: Sequence[tuple[PurePosixPath, Path]],
    wanted: InputSpec,
    case_name: str,
    unread_names: Sequence[str] = (),
) -> DicomInputs:
    """Find the cases in DICOM files.

    Args:
        source: The folder or file that the user gave.
        files: Files with their folders below `source`.
        wanted: The model's input, with rules for series.
        case_name: Template of names; empty: names of folders.
        unread_names: Names of files below `source` that are not read for other reasons.

    Raises:
        ConfigError: rules or template do not fit.
    """
    check_template(case_name)
    if len(wanted.series) not in (0, len(wanted.channels)):
        raise ConfigError(
            f"`series`: holds {len(wanted.series)} rules, and the model takes {len(wanted.channels)} channels; "
            "give one rule for each"
        )
    rules: Sequence[SeriesRule | None] = wanted.series or (None,)
    found = scan([path for _, path in files], rule_tags(wanted.series) | _template_tags(case_name))
    names = _Names(source, found, case_name)
    suspects = _suspects(source, found, unread_names)
    cases = [
        case
        for study in studies_of(found)
        if (case := _case(study, rules, len(wanted.channels), names, suspects)) is not None
    ]
    return DicomInputs(
        tuple(_distinct(cases)), tuple(_passed(found, names)), tuple(_notes(found, names)), len(found.series)
    )


def check_template(case_name: str) -> None:
    """Check a template of case names.

    Raises:
        ConfigError: it has unknown attributes, or none.
    """
    unknown = [word for word in FIELD.findall(case_name) if tag_of(word) is None]
    if unknown or (case_name and not FIELD.search(case_name)):
        what = f"{{{unknown[0]}}} is not a known attribute" if unknown else "it has no attribute in braces"
        raise ConfigError(f"`case_name`: {what}; give e.g. {{PatientID}}_{{StudyDate}}")


@dataclass(slots=True)
class _Names:
    """Names of cases and files below the folder that the user gave."""

    source: Path
    found: Scan
    template: str

    @property
    def root(self) -> Path:
        return self.source if self.source.is_dir() else self.source.parent

    def below(self, path: Path) -> PurePosixPath:
        return PurePosixPath(path.relative_to(self.root).as_posix())

    def of(self, series: Sequence[Series]) -> tuple[PurePosixPath, str]:
        """Folder and stem of a case; for several series, of the folder that contains all of them."""
        if self.template and len({item.study for item in series}) == 1:
            return PurePosixPath(), _filled(self.template, series[0])
        if not self.source.is_dir():
            name = self.source.name
            return PurePosixPath(), name.removesuffix(self.source.suffix) if name.lower().endswith(
                DICOM.suffixes
            ) else name
        folder = replace(series[0], files=tuple(file for item in series for file in item.files)).folder
        below = self.below(folder)
        stem = below.name or self.root.resolve().name or "series"
        if len(series) == 1 and self._shared(series[0]):
            stem += f"_S{series[0].number}" if series[0].number else f"_{_short(series[0].uid)}"
        return below.parent if below.name else PurePosixPath(), stem

    def _shared(self, series: Series) -> bool:
        """Whether its folder has several series that could be segmented."""
        return sum(other.folder == series.folder and not other.aside for other in self.found.series) > 1


def studies_of(found: Scan) -> list[list[Series]]:
    """Group series by study; a series without a valid study UID is a study of its own."""
    studies: dict[object, list[Series]] = defaultdict(list)
    for series in found.series:
        studies[series.study or id(series)].append(series)
    return list(studies.values())


def _case(
    study: Sequence[Series],
    rules: Sequence[SeriesRule | None],
    channels: int,
    names: _Names,
    suspects: dict[Path, Path],
) -> Case | None:
    meant = [series for series in study if not series.aside]
    if not meant:
        return None
    try:
        if channels > len(rules):
            raise InputError(
                f"the model takes {channels} channels; say with one rule for each which series is which, `series`"
            )
        picked = [chosen(candidates(study, rule), rule) for rule in rules]
    except InputError as error:
        folder, stem = names.of(meant)
        path = names.root if not folder.name and stem == names.root.name else names.root / folder / stem
        return Case(folder, stem, "", (path,), str(error))
    folder, stem = names.of(
        [picked[0].series]
        if len(set(map(id, picked))) == 1 or channels == 1
        else [candidate.series for candidate in picked]
    )
    files = tuple(
        SeriesFiles(
            tuple(file.path for file in item.series.files), *((rule.instances, rule.values) if rule else ())
        )
        for item, rule in zip(picked, rules, strict=True)
    )
    problem = next(
        filter(None, (_problem(item, rule, suspects) for item, rule in zip(picked, rules, strict=True))), None
    )
    words = tuple(
        f"{item.label}: {_why(item, rule, len(meant))}" for item, rule in zip(picked, rules, strict=True)
    )
    return Case(folder, stem, "", tuple(item.series.folder for item in picked), problem, files, words)


def _why(item: Candidate, rule: SeriesRule | None, count: int) -> str:
    """Why a series was chosen of `count` that could be segmented."""
    if rule is None:
        return "the only one that may be meant"
    preferred = f", preferring {' and '.join(rule.prefer)}" if rule.prefer else ""
    return f"fits the rule, of {count} that may be meant{preferred}"


def _problem(item: Candidate, rule: SeriesRule | None, suspects: dict[Path, Path]) -> str:
    for file in item.series.files:
        if suspect := suspects.get(file.path.parent):
            return (
                f"{printable(suspect.name)}, beside its files, is damaged or empty, and may be one of its slices; "
                "copy or send it again, or remove it"
            )
    problem = verdict(item, rule.instances if rule else ())[0]
    if not problem and rule and rule.values == "SUVbw":
        try:
            suv_factor(item.series.files)
        except InputError as error:
            return str(error)
    return problem


def _suspects(source: Path, found: Scan, unread_names: Sequence[str]) -> dict[Path, Path]:
    """By folder, a file that may be a lost slice: damaged, or with a DICOM suffix but other content."""
    root = source if source.is_dir() else source.parent
    named = [root / name for name in unread_names if name.lower().endswith(DICOM.suffixes)]
    return {path.parent: path for path in (*named, *(path for path, _ in found.damaged))}


def _filled(template: str, series: Series) -> str:
    """Fill a template with the values of a series, restricted to characters for file names."""

    def value(match: re.Match[str]) -> str:
        values = series.first.values(tag_of(match[1]) or 0)
        return UNSAFE.sub("-", "-".join(values)).strip("-.") or f"no-{match[1]}"

    return UNSAFE.sub("-", FIELD.sub(value, template)).strip(".")[:LONGEST_NAME] or "case"


def _template_tags(template: str) -> frozenset[int]:
    return frozenset(tag for tag in map(tag_of, FIELD.findall(template)) if tag is not None)


def _distinct(cases: Sequence[Case]) -> Iterator[Case]:
    """Make names unique: equal names get a part of a digest of their files' paths."""
    counts = Counter((case.folder / case.stem).as_posix().casefold() for case in cases)
    for case in cases:
        if counts[(case.folder / case.stem).as_posix().casefold()] > 1:
            key = "\n".join(sorted(path.name for path in case.files)) + case.paths[0].as_posix()
            yield replace(case, stem=f"{case.stem}_{_short(key)}")
        else:
            yield case


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:6]


def _passed(found: Scan, names: _Names) -> Iterator[PassedOver]:
    for series in found.series:
        if series.aside:
            name = readable(names.below(series.first.path))
            yield PassedOver(name, ASIDE, series.aside, series.aside, "it is never segmented", len(series.files))
    folders: dict[PurePosixPath, list[str]] = defaultdict(list)
    for path, _ in found.damaged:
        folders[names.below(path).parent].append(path.name)
    for folder, files in folders.items():
        yield unread(folder, files, DAMAGED_DICOM)


def _notes(found: Scan, names: _Names) -> Iterator[str]:
    copies = [path for series in found.series for path in series.copies]
    apart = [path for series in found.series for path in series.apart]
    for paths, words in (
        (copies, "there twice, byte for byte, and taken once"),
        (apart, "of another kind within a series, and set aside"),
    ):
        if paths:
            listed = ", ".join(printable(readable(names.below(path))) for path in paths[:NAMED])
            more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
            yield f"{len(paths)} DICOM file{'s' if len(paths) > 1 else ''} {words}: {listed}{more}"
    inside = sum(series.localizers for series in found.series if not series.aside)
    if inside:
        files = [
            file for series in found.series if not series.aside and series.localizers for file in series.files
        ]
        first = next(file for file in files if "LOCALIZER" in file.values(KEYWORDS["ImageType"]))
        name = printable(readable(names.below(first.path)))
        yield f"{inside} localizer{'s' if inside > 1 else ''} within a series, and set aside: first {name}"
