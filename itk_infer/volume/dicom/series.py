"""Groups the files of a folder into series, and determines which of them may be segmented."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from itk_infer.errors import InputError
from itk_infer.machine import usable_cores
from itk_infer.spec.dicom_keywords import KEYWORDS
from itk_infer.volume.dicom.elements import Damaged
from itk_infer.volume.dicom.header import FileHeader, is_uid, read_file_header, without_voxels

STORAGE = "1.2.840.10008.5.1.4.1.1."
VOLUMES = frozenset(STORAGE + end for end in ("2", "2.1", "2.2", "4", "4.1", "4.4", "20", "128", "128.1", "130"))
OTHER_CLASSES = (  # prefixes of SOP class UIDs, longest first
    ("1.2.840.10008.1.3.10", "a directory of files (DICOMDIR)"),
    (STORAGE + "66.4", "a segmentation"),
    (STORAGE + "66.7", "a segmentation"),
    (STORAGE + "66", "raw data or a registration"),
    (STORAGE + "88.59", "a selection of key objects"),
    (STORAGE + "88", "a report"),
    (STORAGE + "11", "a presentation state"),
    (STORAGE + "481", "an object of radiotherapy"),
    (STORAGE + "104", "a document"),
    (STORAGE + "7", "a screenshot (secondary capture)"),
    (STORAGE + "4.2", "spectroscopy"),
)
MANY = 5  # number of single-slice series from which on they are taken for one volume that was split


@dataclass(frozen=True, slots=True)
class Series:
    """One series.

    Attributes:
        study: StudyInstanceUID; empty if it is not a valid UID.
        uid: SeriesInstanceUID; likewise.
        files: Headers of its files, sorted by path, without copies.
        copies: Files that are byte-for-byte copies of others.
        apart: Files of another kind in the series, such as screenshots.
        problem: Why it cannot be used; None if it can.
        aside: Why it is never segmented; empty if it may be.
    """

    study: str
    uid: str
    files: tuple[FileHeader, ...]
    copies: tuple[Path, ...] = ()
    apart: tuple[Path, ...] = ()
    problem: str | None = None
    aside: str = ""

    @property
    def first(self) -> FileHeader:
        """The file whose header provides the attributes of the series."""
        return self.files[0]

    @property
    def number(self) -> str:
        """SeriesNumber; empty if absent."""
        text = self.first.text("SeriesNumber")
        return text if text.lstrip("+-").isdigit() else ""

    @property
    def localizers(self) -> int:
        """Number of localizers, if the series has other files, too."""
        count = sum("LOCALIZER" in file.values(KEYWORDS["ImageType"]) for file in self.files)
        return 0 if count == len(self.files) else count

    @property
    def slices(self) -> int:
        """Number of slices; a file with an unreadable number of frames counts as one."""
        count = 0
        for file in self.files:
            try:
                count += file.frames
            except InputError:
                count += 1
        return count - self.localizers

    @property
    def folder(self) -> Path:
        """The deepest folder that contains all its files."""
        folders = {file.path.parent for file in self.files}
        first = min(folders)
        return next(
            parent
            for parent in (first, *first.parents)
            if all(folder.is_relative_to(parent) for folder in folders)
        )


@dataclass(slots=True)
class Scan:
    """The DICOM series among some files.

    Attributes:
        series: Series, sorted by their first file.
        damaged: DICOM files that cannot be read, with the reasons.
    """

    series: list[Series] = field(default_factory=list)
    damaged: list[tuple[Path, str]] = field(default_factory=list)


def scan(paths: Iterable[Path], extra: frozenset[int] = frozenset()) -> Scan:
    """Read the headers of DICOM files and group them by series.

    Args:
        paths: The files.
        extra: Tags of attributes that rules use.
    """
    found = Scan()
    headers: dict[tuple[str, str, str], list[FileHeader]] = defaultdict(list)
    paths = sorted(paths)
    with ThreadPoolExecutor(min(8, 2 * usable_cores()), "headers") as pool:
        for path, read in zip(paths, pool.map(lambda path: _read(path, extra), paths), strict=True):
            if isinstance(read, str):
                found.damaged.append((path, read))
            else:
                # Files without a valid SeriesInstanceUID are grouped by folder.
                uid = read.text("SeriesInstanceUID")
                place = "" if is_uid(uid) else str(path.parent)
                headers[read.text("StudyInstanceUID"), uid, place].append(read)
    for (study, uid, _), files in headers.items():
        found.series.append(_series(study, uid, files))
    _set_single_slices_aside(found.series)
    return found


def _read(path: Path, extra: frozenset[int]) -> FileHeader | str:
    try:
        header = without_voxels(read_file_header(path, extra))
    except Damaged as error:
        return str(error)
    except OSError as error:
        return f"cannot be read ({error.strerror or type(error).__name__})"
    return header if header.text("SOPClassUID") else "has no SOPClassUID"


def _series(study: str, uid: str, files: Sequence[FileHeader]) -> Series:
    series = Series(study if is_uid(study) else "", uid if is_uid(uid) else "", tuple(files))
    images = tuple(file for file in files if not _aside(file))
    if not images:
        return replace(series, aside=_aside(series.first))
    series = replace(series, files=images, apart=tuple(file.path for file in files if _aside(file)))
    for keyword, value in (("SeriesInstanceUID", uid), ("StudyInstanceUID", study)):
        if not is_uid(value):
            wrong = "is no UID (digits and dots, at most 64)" if value else "is missing"
            return replace(
                series, problem=f"its {keyword} {wrong}, first in {files[0].name}; export the series again"
            )
    return _without_copies(series)


def _aside(file: FileHeader) -> str:
    """Reason why the series of a file is never segmented; empty if it may be."""
    kind = file.text("SOPClassUID")
    if kind not in VOLUMES:
        return next(
            (words for start, words in OTHER_CLASSES if (kind + ".").startswith(start + ".")), "another kind"
        )
    if file.text("PhotometricInterpretation") and not file.text("PhotometricInterpretation").startswith(
        "MONOCHROME"
    ):
        return "colours"
    return ""


def _without_copies(series: Series) -> Series:
    by_uid: dict[str, list[FileHeader]] = defaultdict(list)
    for file in series.files:
        by_uid[file.text("SOPInstanceUID")].append(file)
    files, copies = [], []
    for uid, group in by_uid.items():
        if not is_uid(uid):
            return replace(
                series,
                problem=f"the SOPInstanceUID of {group[0].name} is missing or no UID; export the series again",
            )
        files.append(group[0])
        if len(group) > 1:
            try:
                different = len({hashlib.sha256(file.path.read_bytes()).digest() for file in group}) > 1
            except OSError:
                different = True
            if different:
                names = " and ".join(file.name for file in group[:2])
                return replace(
                    series,
                    problem=f"{names} have the same SOPInstanceUID, and are not the same; remove what is wrong",
                )
            copies += [file.path for file in group[1:]]
    files.sort(key=lambda file: file.path)
    return replace(series, files=tuple(files), copies=tuple(copies))


def _set_single_slices_aside(found: list[Series]) -> None:
    """Exclude localizers, and single slices in studies that have stacks."""
    stacks = {
        series.study for series in found if not series.aside and not _is_localizer(series) and series.slices > 1
    }
    singles: dict[str, int] = defaultdict(int)
    for series in found:
        singles[series.study] += not series.aside and series.slices == 1
    for index, series in enumerate(found):
        if series.aside:
            continue
        if _is_localizer(series):
            found[index] = replace(series, aside="a localizer")
        elif series.slices == 1 and series.study in stacks:
            found[index] = replace(series, aside="a single slice")
        elif series.slices == 1 and series.study and singles[series.study] >= MANY and not series.problem:
            found[index] = replace(
                series,
                problem="it is a single slice, and so are the others: each has a SeriesInstanceUID of its own, as "
                "some scanners write them; export the series with one for all",
            )


def _is_localizer(series: Series) -> bool:
    return all("LOCALIZER" in file.values(KEYWORDS["ImageType"]) for file in series.files)
