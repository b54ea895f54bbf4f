"""Identity of files: stamps, which are cheap to compare, and digests of the content where stamps differ."""

from __future__ import annotations

import hashlib
from pathlib import Path

from itk_infer.files.intent import Stamp, files_in, stamp_of

__all__ = ["Stamp", "absolute_path", "sha256_of", "stamp_of"]

CHUNK = 2**20


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, or of the names and contents of a folder's files."""
    digest = hashlib.sha256()
    folder = path.is_dir()
    for file in files_in(path) if folder else [path]:
        if folder:
            digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def absolute_path(path: Path) -> Path:
    """A file's absolute path with links in its folder resolved; a file that is itself a link is not followed."""
    return path.parent.resolve() / path.name
