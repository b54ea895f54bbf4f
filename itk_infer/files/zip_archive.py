"""Zip archives that others made, opened within limits."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

MAX_DIRECTORY = 2 * 2**20  # bytes of the directory: some 20,000 entries; weights are one entry each


class ZipArchive(zipfile.ZipFile):
    """A zip file for reading, whose directory is limited in size: a crafted one takes long to read.

    Args:
        path: The file.

    Raises:
        BadZipFile: it is no zip file, or its directory is too large.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._source = _Limited(path)
        try:
            super().__init__(self._source)
        except BaseException:
            self._source.close()
            raise
        self._source.limit = None

    def close(self) -> None:
        """Close the archive and its file."""
        super().close()
        self._source.close()


class _Limited(io.FileIO):
    """A file from which at most `limit` bytes are read at once; None: any number."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.limit: int | None = MAX_DIRECTORY

    def read(self, size: int | None = -1, /) -> bytes:
        if self.limit is not None and size is not None and size > self.limit:
            raise zipfile.BadZipFile(
                f"its directory has {size} bytes; those of models have at most {self.limit}, some 20,000 entries"
            )
        return super().read(-1 if size is None else size) or b""


def reason_to_refuse(path: Path) -> str | None:
    """Why a zip file cannot be opened, as the end of a sentence; None for others, and for files of other types."""
    try:
        if path.is_file() and zipfile.is_zipfile(path):
            ZipArchive(path).close()
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        return str(error)
    return None
