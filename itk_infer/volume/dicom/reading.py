"""Reads a DICOM series as a volume: threads read each file, compare it with its header, hash and decode it."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import InputError
from itk_infer.machine import usable_cores
from itk_infer.spec.series_rule import Condition
from itk_infer.volume.dicom.elements import Damaged, Incomplete
from itk_infer.volume.dicom.frames import Frame, frames_of
from itk_infer.volume.dicom.geometry import Stack, is_mosaic, stack_of
from itk_infer.volume.dicom.header import FIRST_BYTES, FileHeader, header_of, read_file_header, without_voxels
from itk_infer.volume.dicom.pixels import LOSSY, PixelForm, check_decoder, pixel_form, stored_frames
from itk_infer.volume.dicom.series_files import SeriesFiles
from itk_infer.volume.dicom.uptake import suv_factor
from itk_infer.volume.formats.layout import VOXEL_LIMIT
from itk_infer.volume.grid import Grid
from itk_infer.volume.names import printable

MAX_THREADS = 8
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class SeriesVolume:
    """A series that was read as a volume.

    Attributes:
        array: Values (Z, Y, X): stored values with slope and intercept applied; MONOCHROME1 is not inverted.
        grid: Grid of the volume.
        sha256: Digest of the contents of all files, independent of their names.
        stack: Its slices in the order of Z, for objects that refer to them.
        notes: Tolerated deviations, one sentence each.
    """

    array: NDArray[Any]
    grid: Grid
    sha256: str
    stack: Stack
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SeriesPlan:
    """The plan of a volume, from the headers of its files.

    Attributes:
        stack: The slices in order, and the grid.
        forms: Storage form of the pixels, by file.
        dtype: Type of a voxel in memory.
    """

    stack: Stack
    forms: dict[Path, PixelForm]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Size of the voxels in memory, in bytes."""
        return math.prod(self.stack.grid.size) * self.dtype.itemsize


def plan_of(files: Sequence[FileHeader], instances: Sequence[Condition] = ()) -> SeriesPlan:
    """Plan the volume of a series from its headers.

    Args:
        files: Files of the series; localizers among them are skipped.
        instances: Conditions on its slices.

    Raises:
        InputError: it is not a volume, or is of an unsupported kind; the message does not begin with a name.
    """
    frames = chosen_frames(files, instances)
    mosaic = next((frame for frame in frames if is_mosaic(frame)), None)
    if mosaic is not None:
        raise InputError(f"{mosaic.name}: shows many slices side by side (mosaic); convert it, e.g. with dcm2niix")
    used = {frame.file.path: frame.file for frame in frames}
    forms = {path: pixel_form(file) for path, file in used.items()}
    for file in used.values():
        check_decoder(file)
    stack = stack_of(frames)
    if math.prod(stack.grid.size) > VOXEL_LIMIT:
        raise InputError(f"has more than the {VOXEL_LIMIT:,} voxels that are read")
    return SeriesPlan(stack, forms, _dtype(stack.frames, forms))


def chosen_frames(files: Sequence[FileHeader], instances: Sequence[Condition] = ()) -> list[Frame]:
    """Slices that meet the conditions and are not localizers (unless all are).

    Raises:
        InputError: a header contradicts itself, or no slice remains.
    """
    frames = [frame for file in files for frame in frames_of(file)]
    frames = [frame for frame in frames if not frame.is_localizer] or frames
    kept = [frame for frame in frames if all(item.holds(frame.values(item.keyword)) for item in instances)]
    if not kept:
        wanted = " and ".join(item.words for item in instances)
        raise InputError(f"none of its {len(frames)} slices meets the rule's condition for instances: {wanted}")
    return kept


def read_plan(series: SeriesFiles) -> SeriesPlan:
    """Read the headers of a series and return its `plan_of`.

    Raises:
        InputError: as for `plan_of`, or a file cannot be read.
    """
    extra = _extra_tags(series.instances)
    return plan_of(_map(lambda path: without_voxels(_header(path, extra)), series.files), series.instances)


def read_series(series: SeriesFiles) -> SeriesVolume:
    """Read a series.

    Raises:
        InputError: it is not a volume, or a file is damaged or truncated.
    """
    extra = _extra_tags(series.instances)
    plan = read_plan(series)
    factor = None
    if series.values == "SUVbw":
        factor = suv_factor([frame.file for frame in plan.stack.frames])
        plan = replace(plan, dtype=np.dtype(np.float32))
    array = np.empty(plan.stack.grid.size, plan.dtype)
    places: dict[Path, list[tuple[int, Frame]]] = {path: [] for path in series.files}
    for z, frame in enumerate(plan.stack.frames):
        places[frame.file.path].append((z, frame))

    buffers = _Buffers()

    def read(path: Path) -> str:
        data = buffers.read(path)
        try:
            _fill(array, _header_in(path, data, extra), data, places[path], plan)
        except Damaged as error:
            raise InputError(f"{printable(path.name)}: {error}; copy or send it again") from None
        return hashlib.sha256(data).hexdigest()

    digests = _map(read, series.files)
    if factor is not None:
        array *= np.float32(factor)
    used = {frame.file.path: frame.file for frame in plan.stack.frames}
    lossy = any(file.data.syntax in LOSSY or file.text("LossyImageCompression") == "01" for file in used.values())
    notes = [*plan.stack.notes, *(["its pixels were compressed with losses"] if lossy else [])]
    stack = replace(plan.stack, values=series.values)
    return SeriesVolume(array, stack.grid, _digest(digests, series), stack, tuple(notes))


def series_sha256(series: SeriesFiles) -> str:
    """The digest that `read_series` returns, without decoding.

    Raises:
        InputError: a file cannot be read.
    """
    buffers = _Buffers()
    return _digest(_map(lambda path: hashlib.sha256(buffers.read(path)).hexdigest(), series.files), series)


def _digest(digests: Sequence[str], series: SeriesFiles) -> str:
    words = [*sorted(digests), *([series.reading] if series.reading != repr(()) else [])]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def _fill(
    array: NDArray[Any],
    file: FileHeader,
    data: memoryview,
    places: Sequence[tuple[int, Frame]],
    plan: SeriesPlan,
) -> None:
    """Decode the frames of a file into the volume; several frames of one file are decoded in parallel."""
    if not places:
        return
    form, found = pixel_form(file), dict(enumerate(frames_of(file)))
    same = all(
        replace(found[frame.index], file=frame.file) == frame for _, frame in places if frame.index in found
    )
    if form != plan.forms[file.path] or not same or len(found) != form.frames:
        raise Damaged("was changed while it was read")
    decode = stored_frames(file, form, data)

    def fill(place: tuple[int, Frame]) -> None:
        z, frame = place
        _scale(decode(frame.index), frame, array[z])

    _map(fill, places) if len(places) > 1 else fill(places[0])


def _scale(stored: NDArray[Any], frame: Frame, target: NDArray[Any]) -> None:
    if frame.table is not None:
        target[...] = frame.table(stored)
    elif target.dtype.kind != "f":  # slope and intercept are integers, and every value fits
        slope, intercept = target.dtype.type(frame.slope), target.dtype.type(frame.intercept)
        if stored.dtype.isnative and stored.dtype.itemsize == target.dtype.itemsize:
            stored = stored.view(target.dtype)  # the sum fits, so it is right modulo 2^n in either type: one pass
        if slope != 1:
            np.multiply(stored, slope, out=target, casting="unsafe")
            target += intercept
        else:
            np.add(stored, intercept, out=target, casting="unsafe")
    else:
        target[...] = stored.astype(np.float64) * frame.slope + frame.intercept


def _dtype(frames: Sequence[Frame], forms: dict[Path, PixelForm]) -> np.dtype[Any]:
    """Smallest integer type that holds all possible values, or float32."""
    tables = {None if frame.table is None else frame.table.itemsize for frame in frames}
    if tables != {None}:
        return np.dtype(np.float32 if None in tables else f"u{max(size for size in tables if size)}")
    scalings = {(frame.slope, frame.intercept) for frame in frames}
    slope, intercept = next(iter(scalings))
    if len(scalings) == 1 and slope.is_integer() and intercept.is_integer():
        ranges = {form.range for form in forms.values()}
        ends = [bound for pair in ranges for bound in pair]
        ends += [end * int(slope) for end in ends] + [end * int(slope) + int(intercept) for end in ends]
        for kind in (np.uint8, np.int16, np.uint16, np.int32):
            info = np.iinfo(kind)
            if info.min <= min(ends) and max(ends) <= info.max and abs(intercept) <= info.max:
                return np.dtype(kind)
    return np.dtype(np.float32)


def _extra_tags(instances: Sequence[Condition]) -> frozenset[int]:
    from itk_infer.spec.dicom_keywords import tag_of

    return frozenset(tag for tag in (tag_of(item.keyword) for item in instances) if tag is not None)


def _header(path: Path, extra: frozenset[int]) -> FileHeader:
    try:
        return read_file_header(path, extra)
    except Damaged as error:
        raise InputError(f"{printable(path.name)}: {error}; copy or send it again") from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _header_in(path: Path, data: memoryview, extra: frozenset[int]) -> FileHeader:
    try:
        return header_of(path, bytes(data[:FIRST_BYTES]), len(data), extra)
    except Incomplete:
        return header_of(path, bytes(data), len(data), extra)


class _Buffers(threading.local):
    """One buffer per thread for the bytes of a file, reused for the next file."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def read(self, path: Path) -> memoryview:
        """Read a whole file; the result is valid until the next call in this thread.

        Raises:
            InputError: the file cannot be read.
        """
        try:
            size = path.stat().st_size
            if len(self.buffer) < size:
                self.buffer = bytearray(size)
            view = memoryview(self.buffer)[:size]
            with path.open("rb", buffering=0) as file:
                count = 0
                while count < size and (more := file.readinto(view[count:])):
                    count += more
        except OSError as error:
            raise _unreadable(path, error) from None
        return view[:count].toreadonly()


def _unreadable(path: Path, error: OSError) -> InputError:
    reason = error.strerror or type(error).__name__
    return InputError(f"{printable(path.name)}: cannot be read ({reason}); check the file and its permissions")


def _map(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Apply a function to all items, in as many threads as cores."""
    threads = min(MAX_THREADS, usable_cores(), len(items))
    if threads < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads, "dicom") as pool:
        return list(pool.map(function, items))
