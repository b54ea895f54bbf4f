"""Units of work for a thread: one file, or the single-frame files of one series in their order."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from itk_infer.errors import InputError
from itk_infer.volume.dicom.elements import Incomplete, looks_like_dicom
from itk_infer.volume.dicom.header import FIRST_BYTES
from itk_infer.volume.names import is_picture
from itk_infer.volume.picture_input.dicom_pictures import facts_of, header_in
from itk_infer.volume.picture_input.picture import PictureFacts


@dataclass(frozen=True, slots=True)
class WaitingFile:
    """A file to read.

    Attributes:
        id: Row id of the file in the database.
        path: Path relative to the input, with '/'.
        expected: Digest of the content that has results; None if there are no results.
    """

    id: int
    path: str
    expected: str | None = None

    @property
    def folder(self) -> str:
        """Folder of the file, relative to the input."""
        return self.path.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Unit:
    """Files that one thread processes, one after the other.

    Attributes:
        files: One file, or those of a series, in its order.
        twins: Per file: whether it has the same UID as the file before it.
    """

    files: tuple[WaitingFile, ...]
    twins: tuple[bool, ...] = (False,)


@dataclass(frozen=True, slots=True)
class Glance:
    """Header attributes of a waiting file, for ordering a series.

    Attributes:
        file: The file.
        series: Key of its series; empty: the file is classified on its own.
        sop: SOPInstanceUID; empty if there is none.
        study: StudyInstanceUID; empty if there is none.
        position: Position along the slice normal in mm; None if unknown.
    """

    file: WaitingFile
    series: str
    sop: str = ""
    study: str = ""
    position: float | None = None


def glances(files: Sequence[WaitingFile], root: Path, threads: int) -> list[Glance]:
    """Read the headers of files, without pixels."""
    with ThreadPoolExecutor(threads, "headers") as pool:
        return list(pool.map(lambda file: _glance(file, root), files))


def _glance(file: WaitingFile, root: Path) -> Glance:
    path = root / file.path
    if is_picture(path.name):
        return Glance(file, f"folder:{file.folder}")
    try:
        facts = _facts(path)
    except (InputError, OSError):
        return Glance(file, "")  # reading the whole file reports the reason
    alone = facts is None or facts.frames > 1 or not facts.series
    if alone or facts is None:
        return Glance(file, "")
    return Glance(file, facts.series, facts.sop, facts.study, facts.positions[0])


def _facts(path: Path) -> PictureFacts | None:
    with path.open("rb") as opened:
        start = opened.read(FIRST_BYTES)
        if not looks_like_dicom(start):
            return None
        try:
            return facts_of(header_in(path, start, whole=False))
        except Incomplete:
            return facts_of(header_in(path, start + opened.read()))


def units_of(found: Sequence[Glance]) -> Iterator[Unit]:
    """Make units of files; each series is sorted by position, or by name if a position is missing.

    Of files with the same UID, the one in the folder with the most files of the study comes first.
    """
    series: dict[str, list[Glance]] = defaultdict(list)
    for glance in found:
        if glance.series:
            series[glance.series].append(glance)
        else:
            yield Unit((glance.file,))
    for group in series.values():
        counts = Counter((item.study, item.file.folder) for item in group)
        by_position = all(item.position is not None for item in group)

        def key(
            item: Glance, by_position: bool = by_position, counts: Counter[tuple[str, str]] = counts
        ) -> tuple[object, ...]:
            place = (item.position, item.sop) if by_position else (natural(item.file.path),)
            return (*place, -counts[item.study, item.file.folder], item.file.path)

        ordered = sorted(group, key=key)
        twins = [False] + [bool(b.sop) and a.sop == b.sop for a, b in itertools.pairwise(ordered)]
        yield Unit(tuple(item.file for item in ordered), tuple(twins))


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """Sort key of natural order: a2 before a10."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name))
