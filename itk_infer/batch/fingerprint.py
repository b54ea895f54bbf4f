"""Whether a file is still the file it was: cheap signs first, the content only where they differ."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

CHUNK = 2**20


@dataclass(frozen=True, slots=True)
class Stamp:
    """Size, modification time and inode. Equal stamps are taken for equal content.

    For a folder: bytes of its files, newest modification, and their number.
    """

    size: int
    mtime_ns: int
    inode: int


def stamp_of(path: Path) -> Stamp:
    """The stamp of a file or folder.

    Raises:
        OSError: it cannot be looked at.
    """
    if not path.is_dir():
        found = path.stat()
        return Stamp(found.st_size, found.st_mtime_ns, found.st_ino)
    stats = [file.stat() for file in _files(path)]
    newest = max((found.st_mtime_ns for found in stats), default=0)
    return Stamp(sum(found.st_size for found in stats), newest, len(stats))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, or of a folder's file names and contents."""
    digest = hashlib.sha256()
    folder = path.is_dir()
    for file in _files(path) if folder else [path]:
        if folder:
            digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(Path(root, name) for root, _, names in os.walk(folder) for name in names)
