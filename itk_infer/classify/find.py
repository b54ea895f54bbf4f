"""The search for files, folder by folder, so that memory does not grow with the archive."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from itk_infer.errors import ConfigError, NoInputError


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file.

    Attributes:
        name: In its folder.
        size: Bytes.
        mtime_ns: When it was changed last.
        inode: Its number in the file system; 0 where there is none.
    """

    name: str
    size: int
    mtime_ns: int
    inode: int


def folders_of(path: Path, without: frozenset[Path]) -> Iterator[tuple[str, list[FoundFile]]]:
    """The files of a folder and of all below it, sorted; hidden ones, whose names begin with a dot, are left out.

    Args:
        path: The folder, or one file.
        without: Folders that are not searched, resolved.

    Yields:
        Path of a folder relative to the first one, with '/', empty for that itself; and its files.

    Raises:
        ConfigError: a folder cannot be listed.
        NoInputError: the path is not there.
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
        except OSError:  # a link that leads nowhere, or deleted meanwhile: reading it will say so
            files.append(FoundFile(entry.name, 0, 0, 0))
            continue
        files.append(FoundFile(entry.name, about.st_size, about.st_mtime_ns, about.st_ino))
    if files:
        yield relative, files
    for name in folders:
        yield from _below(folder / name, f"{relative}/{name}" if relative else name, without, seen)
