"""DICOM objects in files: the attributes needed for sending, and the choice of results in a folder."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from itk_infer.errors import ConfigError
from itk_infer.run.ledger import NAME as LEDGER
from itk_infer.run.ledger import Ledger
from itk_infer.run.ledger_file import ledger_fault
from itk_infer.run.shard import shard_ledgers
from itk_infer.volume.dicom.elements import Damaged, looks_like_dicom
from itk_infer.volume.dicom.header import is_uid, read_file_header
from itk_infer.volume.dicom.series import OTHER_CLASSES

MAKER = "itk_infer"  # Manufacturer or ManufacturerModelName of objects that this program writes
START = 1024  # first bytes, by which DICOM files are recognised


@dataclass(frozen=True, slots=True)
class DicomObject:
    """One DICOM object in a file.

    Attributes:
        path: The file.
        uid: Its SOPInstanceUID.
        sop_class: Its SOPClassUID.
        study: Its StudyInstanceUID.
        series: Its SeriesInstanceUID.
        syntax: UID of its transfer syntax.
        maker: Manufacturer and model, as text.
    """

    path: Path
    uid: str
    sop_class: str
    study: str
    series: str
    syntax: str
    maker: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether this program wrote it."""
        return MAKER in self.maker.lower()


def object_of(path: Path) -> DicomObject | None:
    """The object in a file; None if the file is not DICOM, or the object cannot be sent."""
    try:
        with path.open("rb") as file:
            if not looks_like_dicom(file.read(START)):
                return None
        header = read_file_header(path)
    except (OSError, Damaged):
        return None
    names = ("SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID")
    uid, sop_class, study, series = map(header.text, names)
    if not (is_uid(uid) and is_uid(sop_class)):
        return None
    maker = f"{header.text('Manufacturer')} {header.text('ManufacturerModelName')}"
    return DicomObject(path, uid, sop_class, study, series, header.data.syntax, maker)


def results_in(folder: Path) -> list[DicomObject]:
    """DICOM objects among the results of an output folder: outputs of finished cases, and others by this program.

    Raises:
        ConfigError: the folder does not exist, or its ledger cannot be read.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; give the output folder of a run")
    recorded, finished = _recorded(folder)
    found: dict[str, DicomObject] = {}
    for path in _files(folder):
        item = object_of(path)
        if item is not None and (path in finished or (item.is_ours and path not in recorded)):
            found.setdefault(item.uid, item)
    return list(found.values())


def never_input(sop_class: str) -> bool:
    """Whether objects of a SOP class are never segmented, such as segmentations, reports, presentation states."""
    return any(f"{sop_class}.".startswith(f"{start}.") for start, _ in OTHER_CLASSES)


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not name.endswith(".zarr"))
        yield from (Path(root, name) for name in sorted(names) if not name.startswith("."))


def _recorded(folder: Path) -> tuple[set[Path], set[Path]]:
    """All recorded outputs, and those of finished cases."""
    recorded: set[Path] = set()
    finished: set[Path] = set()
    for path in (folder / LEDGER, *shard_ledgers(folder)):
        if not path.is_file():
            continue
        try:
            with closing(Ledger(folder, read_only=True, name=path.name)) as ledger:
                cases, outputs = ledger.cases(), ledger.outputs().values()
        except sqlite3.Error as error:
            raise ledger_fault(path, error) from error
        recorded |= {folder / output.path for output in outputs}
        finished |= {
            folder / output.path
            for output in outputs
            if output.case in cases and cases[output.case].state in ("done", "skipped")
        }
    return recorded, finished
