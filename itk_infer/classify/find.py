"""The search for files, one folder at a time, so that memory does not grow with the archive."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from itk_infer.errors import ConfigError, NoInputError


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file found by the search.

    Attributes:
        name: Name within its folder.
        size: Size in bytes.
        mtime_ns: Time of the last modification, in nanoseconds.
        inode: Inode number; 0 if the file system has none.
    """

    name: str
    size: int
    mtime_ns: int
    inode: int


def folders_of(path: Path, without: frozenset[Path]) -> Iterator[tuple[str, list[FoundFile]]]:
    """List the files of a folder and its subfolders, sorted, except hidden ones (names with a leading dot).

    Args:
        path: The folder, or one file.
        without: Folders to skip, as resolved paths.

    Yields:
        Path of a folder relative to `path`, with '/' (empty for `path` itself), and its files.

    Raises:
        ConfigError: a folder cannot be listed.
        NoInputError: the path does not exist.
    """
    if path.is_file():
        about = path.stat()
        yield "", [FoundFile(path.name, about.st_size, about.st_mtime_ns, about.st_ino)]
    elif path.is_dir():
        yield from _below(path, "", without, set())
    else:
        raise NoInputError(f"{path}: no such file or folder")


def _below(
    folder: Path, relative: str, without: frozenset[Path], seen: set[Path]
) -> Iterator[tuple[str, list[FoundFile]]]:
    real = folder.resolve()
    if real in seen or real in without:
        return
    seen.add(real)
    try:
        with os.scandir(folder) as entries:
            listed = sorted((entry for entry in entries if entry.name[0] != "."), key=lambda entry: entry.name)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be searched ({error.strerror})") from None
    files, folders = [], []
    for entry in listed:
        if entry.is_dir():
            folders.append(entry.name)
            continue
        try:
            about = entry.stat()
        except OSError:  # a broken link, or deleted meanwhile: reading it reports the error
            files.append(FoundFile(entry.name, 0, 0, 0))
            continue
        files.append(FoundFile(entry.name, about.st_size, about.st_mtime_ns, about.st_ino))
    if files:
        yield relative, files
    for name in folders:
        yield from _below(folder / name, f"{relative}/{name}" if relative else name, without, seen)
