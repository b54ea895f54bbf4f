"""DICOM series that are uploaded as a zip: unpacked within limits, then searched.

The names in a zip are not used: its files are numbered. Files that are not DICOM are skipped.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from itk_infer.case.case import Case
from itk_infer.client.dicom_zip import MARK, PREAMBLE, is_dicom
from itk_infer.errors import InputError
from itk_infer.executors.reading import case_header
from itk_infer.service.refusal import Refusal
from itk_infer.spec import InputSpec

END, END_BYTES, LONGEST_COMMENT = b"PK\x05\x06", 22, 65535
LARGE_ZIP, LOCATOR_BYTES = b"PK\x06\x07", 20  # zip64 end of central directory locator (APPNOTE 4.3.15)
ENTRY_BYTES = 512  # per file in the central directory, on average, at most
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others may need much memory
MAGIC = b"PK\x03\x04"
MOST_FILES = 20_000
CHUNK = 1 << 20
# Exceptions of zipfile for damaged, encrypted and unusually compressed files.
DAMAGED = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError, EOFError)


def is_zip(path: Path) -> bool:
    """Whether a file is a zip, by its first bytes."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def unpack(packed: Path, folder: Path, limit: int, check_space: Callable[[], None]) -> None:
    """Write the DICOM files of a zip to a new folder, named by their numbers.

    Args:
        packed: The zip.
        folder: Folder to create.
        limit: Largest total size of the unpacked files, in bytes.
        check_space: Called at intervals; raises if the disk is full.

    Raises:
        Refusal: ``invalid``, ``unsupported``, ``too_large`` or ``no_space``.
    """
    folder.mkdir()
    _check_directory(packed)
    left, count = limit, 0
    try:
        with zipfile.ZipFile(packed) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if len(entries) > MOST_FILES:
                raise _too_many()
            for number, entry in enumerate(entries):
                if entry.compress_type not in METHODS:
                    raise NotImplementedError
                with archive.open(entry) as file:
                    chunk = file.read(PREAMBLE + len(MARK))
                    if not is_dicom(chunk):
                        continue
                    count += 1
                    check_space()
                    with (folder / f"{number:06d}.dcm").open("xb") as out:
                        while chunk:
                            left -= out.write(chunk)
                            if left < 0:
                                raise Refusal("too_large", f"the zip unpacks to more than {limit >> 20:,} MiB")
                            chunk = file.read(CHUNK)
    except DAMAGED:
        raise Refusal("invalid", "the zip is damaged, or encrypted; pack the series again") from None
    if count == 0:
        raise Refusal("unsupported", "the zip holds no DICOM files")


def _check_directory(packed: Path) -> None:
    """Refuse a zip whose central directory is too long, by its end record, because zipfile reads it whole."""
    with packed.open("rb") as file:
        file.seek(-min(packed.stat().st_size, END_BYTES + LONGEST_COMMENT), os.SEEK_END)
        tail = file.read()
    at = len(tail) - END_BYTES  # the position at which zipfile looks first
    if at < 0 or tail[at : at + 4] != END or tail[-2:] != b"\0\0":
        at = tail.rfind(END)
    if at < 0 or len(tail) - at < END_BYTES:
        raise Refusal("invalid", "the zip has no end; send it again")
    (size,) = struct.unpack_from("<I", tail, at + 12)
    if size > MOST_FILES * ENTRY_BYTES or tail[max(0, at - LOCATOR_BYTES) : at].startswith(LARGE_ZIP):
        raise _too_many()


def _too_many() -> Refusal:
    return Refusal(
        "too_large", f"the zip holds more than {MOST_FILES:,} files, or is of the large kind; send one series"
    )


def series_case(folder: Path, name: str, wanted: InputSpec, max_image: int) -> Case:
    """The case of a folder of DICOM files, which must hold exactly one series to segment.

    Args:
        folder: Folder of the files.
        name: Name of the case.
        wanted: Input block of the model's spec, with its rules for series.
        max_image: Largest size of its decoded voxels, in bytes.

    Raises:
        InputError: there is no such series, or more than one; or it cannot be used.
        ConfigError: the model's rules for series do not fit.
    """
    from itk_infer.run.dicom_cases import dicom_cases

    files = [(PurePosixPath(path.name), path) for path in sorted(folder.iterdir())]
    cases = dicom_cases(folder, files, wanted, "").cases
    if len(cases) != 1:
        raise InputError(f"the zip holds {len(cases)} studies that may be meant; send one study")
    (case,) = cases
    if case.problem is not None:
        raise InputError(case.problem)
    case = replace(case, folder=PurePosixPath("."), stem=name)
    nbytes = case_header(case).nbytes
    if nbytes > max_image:
        taken = f"more than the {max_image >> 20:,} MiB that are taken"
        raise InputError(f"the series has {nbytes >> 20:,} MiB of voxels, {taken}")
    return case
