"""Reads the image of a case, when it is its turn, or ahead while another case is computed."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from itk_infer.case.case import Case
from itk_infer.errors import InputError, ItkInferError
from itk_infer.files.records import InputFile
from itk_infer.files.stamp import Stamp, absolute_path, stamp_of
from itk_infer.machine import MemoryBound
from itk_infer.outputs.registry import needs
from itk_infer.volume.dicom.derived import check_referable
from itk_infer.volume.names import is_picture, printable
from itk_infer.volume.picture_volume import picture_volume
from itk_infer.volume.pictures import read_picture
from itk_infer.volume.read import Header, read_header, read_image, read_volumes
from itk_infer.volume.same_grid import check_same_grid
from itk_infer.volume.volume import Volume, volume_of_channels

if TYPE_CHECKING:
    from itk_infer.volume.dicom.geometry import Stack


@dataclass(frozen=True, slots=True)
class CaseImage:
    """The image of a case.

    Attributes:
        volume: The image with all its channels.
        inputs: Description of its files, as read.
        warnings: Ambiguities in the files, one sentence each.
        seconds: Duration of reading.
        source: Slices of the DICOM series of the first channel; None for other images.
    """

    volume: Volume
    inputs: tuple[InputFile, ...]
    warnings: tuple[str, ...]
    seconds: float
    source: Stack | None = None


def read_case(case: Case, bound: MemoryBound | None = None) -> CaseImage:
    """Read and check all channels.

    Args:
        case: The case.
        bound: Memory that may be used; None: no limit.

    Raises:
        InputError: a file cannot be used, or there is not enough memory to read it.
    """
    started = time.perf_counter()
    if bound is not None:
        bound.check(reading_memory(case) or 0, "to be read", "give it more, or crop or resample the image")
    if case.series:
        return _read_series(case, started)
    if is_picture(case.paths[0].name):
        return _read_pictures(case, started)
    names = [printable(path.name) for path in case.paths]
    if case.volumes == 1:
        images = [read_image(path) for path in case.paths]
    else:
        images = read_volumes(case.paths[0], case.volumes)
        names = [f"volume {number} of {names[0]}" for number in range(case.volumes)]
    inputs = tuple(
        InputFile(str(absolute_path(path)), image.sha256, stamp_of(path))
        for path, image in zip(case.paths, images, strict=False)
    )
    volume = volume_of_channels([image.channel for image in images], case.name, names)
    warnings = (*(case.unnamed(warning) for image in images for warning in image.warnings), *volume.warnings)
    return CaseImage(volume, inputs, warnings, time.perf_counter() - started)


def _read_pictures(case: Case, started: float) -> CaseImage:
    stamps = case.stamps()
    read = [read_picture(path) for path in case.paths]
    inputs = tuple(
        InputFile(str(absolute_path(path)), one.sha256, stamp)
        for path, one, stamp in zip(case.paths, read, stamps, strict=True)
    )
    warnings = tuple(case.unnamed(note) for one in read for note in one.notes)
    volume = picture_volume(read, case.name, [printable(path.name) for path in case.paths])
    return CaseImage(volume, inputs, warnings, time.perf_counter() - started)


def _read_series(case: Case, started: float) -> CaseImage:
    from itk_infer.volume.dicom.reading import read_series

    stamps = case.stamps()
    read = [read_series(series) for series in case.series]
    if stamps != case.stamps():
        raise InputError("its files were changed while they were read; run again")
    inputs = tuple(
        InputFile(str(absolute_path(path)), one.sha256, stamp)
        for path, one, stamp in zip(case.paths, read, stamps, strict=True)
    )
    names = [f"channel {index}" for index in range(len(read))]
    warnings = [note for one in read for note in one.notes]
    for one, name in zip(read[1:], names[1:], strict=True):
        warning = check_same_grid(case.name, (name, one.grid), (names[0], read[0].grid))
        warnings += [warning] if warning else []
    arrays = [one.array for one in read]
    array = arrays[0][None] if len(arrays) == 1 else np.stack(arrays)
    volume = Volume(array, read[0].grid, case.name)
    return CaseImage(volume, inputs, tuple(warnings), time.perf_counter() - started, read[0].stack)


def check_source(case: Case, names: Iterable[str]) -> None:
    """Check by the headers that outputs can refer to the DICOM series of a case; errors as in `check_referable`.

    Args:
        case: The case.
        names: Names of the outputs.
    """
    if case.series and "source" in needs(names):
        from itk_infer.volume.dicom.reading import read_plan

        check_referable(read_plan(case.series[0]).stack)


def case_header(case: Case) -> Header:
    """Size, spacing, direction and type of the first channel of a case.

    Raises:
        InputError: it cannot be read.
    """
    if not case.series:
        return read_header(case.paths[0], case.volumes)
    from itk_infer.volume.dicom.reading import read_plan

    plan = read_plan(case.series[0])
    grid = plan.stack.grid
    return Header(grid.size, grid.spacing, grid.direction_xyz, plan.dtype)


def reading_memory(case: Case) -> int | None:
    """Bytes needed for reading, from the headers only; None if these cannot be read.

    Every voxel is briefly in memory twice: as its bytes are collected, or decoded by SimpleITK.
    """
    try:
        if case.series:
            return 2 * len(case.series) * case_header(case).nbytes
        return 2 * sum(read_header(path, case.volumes).nbytes for path in case.paths)
    except (ItkInferError, OSError):
        return None


class ReadAhead:
    """Reads one case in its own thread, and keeps it until the next one is requested.

    Errors are ignored: the files are read again when it is the case's turn, which reports them.
    Everything is read in this one thread, so two images are never read at the same time.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "reading")
        self._case: Case | None = None
        self._ahead: Future[CaseImage | None] | None = None

    def close(self) -> None:
        """Wait for the current reading to finish, and end the thread."""
        self._thread.shutdown()
        self._ahead = self._case = None

    def start(self, case: Case, room: int | None) -> None:
        """Start to read a case.

        Args:
            case: The case that is probably next.
            room: Bytes that reading it may take; it is not read if it needs more. None: no limit.
        """
        self._case, self._ahead = case, self._thread.submit(_read_ahead, case, room)

    def take(self, case: Case) -> CaseImage | None:
        """The case if it was read ahead and its files have not changed since, else None. Drops what was kept."""
        ahead, known = self._ahead, self._case
        self._ahead = self._case = None
        found = ahead.result() if ahead is not None and known == case else None
        return found if found is not None and _stamps(case) == [file.stamp for file in found.inputs] else None

    def memory(self, case: Case) -> int | None:
        """As `reading_memory`."""
        return self._thread.submit(reading_memory, case).result()

    def read(self, case: Case, bound: MemoryBound | None = None) -> CaseImage:
        """As `read_case`."""
        return self._thread.submit(read_case, case, bound).result()


def _read_ahead(case: Case, room: int | None) -> CaseImage | None:
    needed = reading_memory(case)
    before = _stamps(case)
    if needed is None or before is None or (room is not None and needed > room):
        return None
    try:
        found = read_case(case)
    except Exception:
        return None
    return found if before == [file.stamp for file in found.inputs] else None


def _stamps(case: Case) -> list[Stamp] | None:
    try:
        return case.stamps()
    except OSError:
        return None
