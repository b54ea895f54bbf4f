"""Packs a DICOM series for upload: a zip without the original names of files and folders."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from itk_infer.errors import InputError

MARK = (
    b"DICM"  # after a preamble of 128 bytes; https://dicom.nema.org/medical/dicom/current/output/html/part10.html
)
PREAMBLE = 128


@contextmanager
def to_upload(image: Path) -> Iterator[Path]:
    """Yield the file to upload: the image itself, or a zip of a DICOM file or of all those below a folder.

    Raises:
        InputError: the image cannot be read, or is a folder without DICOM files.
    """
    try:
        files = _dicom_files(image)
        if image.is_dir() and not files:
            raise InputError(f"{image}: holds no DICOM files; name image files one by one")
        if not files:
            with image.open("rb"):
                yield image
            return
        with tempfile.TemporaryDirectory() as folder:
            packed = Path(folder, "series.zip")
            with zipfile.ZipFile(packed, "w", strict_timestamps=False) as archive:
                for number, path in enumerate(files):
                    archive.write(path, f"{number:06d}.dcm")
            yield packed
    except OSError as error:
        raise InputError(f"{image}: cannot be read ({error.strerror})") from None


def is_dicom(start: bytes) -> bool:
    """Whether a file with these first bytes is a DICOM file."""
    return start[PREAMBLE : PREAMBLE + len(MARK)] == MARK


def _dicom_files(image: Path) -> list[Path]:
    paths = (
        [image] if image.is_file() else [Path(root, name) for root, _, names in os.walk(image) for name in names]
    )
    return [path for path in sorted(paths) if path.is_file() and is_dicom(_start(path))]


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(PREAMBLE + len(MARK))
