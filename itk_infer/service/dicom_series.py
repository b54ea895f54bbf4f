"""A DICOM series that comes from outside as a zip: unpacked within limits, and found among the files.

The names in a zip are not used: its files get numbers. What is no DICOM file is left out.
"""

from __future__ import annotations

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

MAGIC = b"PK\x03\x04"
MOST_FILES = 20_000
CHUNK = 1 << 20
# What zipfile raises for damaged, encrypted and rarely packed files.
DAMAGED = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError, EOFError)


def is_zip(path: Path) -> bool:
    """Whether a file is a zip, by its first bytes."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def unpack(packed: Path, folder: Path, limit: int, check_space: Callable[[], None]) -> None:
    """Write the DICOM files of a zip to a new folder, named by their numbers.

    Args:
        packed: The zip.
        folder: Does not exist yet.
        limit: Bytes of all files, unpacked.
        check_space: Called now and then; raises where the disk is full.

    Raises:
        Refusal: ``invalid``, ``unsupported``, ``too_large`` or ``no_space``.
    """
    folder.mkdir()
    left, count = limit, 0
    try:
        with zipfile.ZipFile(packed) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if len(entries) > MOST_FILES:
                raise Refusal("too_large", f"the zip holds more than {MOST_FILES:,} files; send one series")
            for number, entry in enumerate(entries):
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


def series_case(folder: Path, name: str, wanted: InputSpec, max_image: int) -> Case:
    """The one case that DICOM files make.

    Args:
        folder: Holds them.
        name: Of the case.
        wanted: The model's input, with its rules for series.
        max_image: Bytes of its voxels, decoded.

    Raises:
        InputError: there is none, or more than one; or it cannot be used.
        ConfigError: the model's rules do not fit.
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
