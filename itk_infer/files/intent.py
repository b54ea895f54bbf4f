"""Intents: write-ahead records beside an output file that identify it as this program's.

A file is entered in the ledger after it got its final name. A run killed in between leaves the intent; the
next run reads it, and does not take the file for another program's.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Stamp:
    """Size in bytes, modification time and inode; files with equal stamps are taken to have equal content.

    Renaming a file keeps its stamp. For a folder: total bytes of its files, newest modification, number of files.
    """

    size: int
    mtime_ns: int
    inode: int


def stamp_of(path: Path) -> Stamp:
    """The stamp of a file or folder.

    Raises:
        OSError: its status cannot be read.
    """
    if not path.is_dir():
        status = path.stat()
        return Stamp(status.st_size, status.st_mtime_ns, status.st_ino)
    files = [file.stat() for file in files_in(path)]
    newest = max((status.st_mtime_ns for status in files), default=0)
    return Stamp(sum(status.st_size for status in files), newest, len(files))


def files_in(folder: Path) -> list[Path]:
    """All files below a folder, sorted."""
    return sorted(Path(root, name) for root, _, names in os.walk(folder) for name in names)


def write_intent(partial: Path, final: Path) -> None:
    """Record that `partial`, complete and verified, is about to be renamed to `final`."""
    remove_intent(final)  # an intent left by another user's run can be replaced, but not overwritten
    with intent_path(final).open("w", encoding="utf-8") as file:
        json.dump({"name": final.name, **asdict(stamp_of(partial))}, file)
        file.flush()
        os.fsync(file.fileno())


def is_intended(final: Path) -> bool:
    """Whether `final` is the file for which an intent was written, unchanged since."""
    try:
        intent = json.loads(intent_path(final).read_text("utf-8"))
        return bool(intent == {"name": final.name, **asdict(stamp_of(final))})
    except (OSError, ValueError):
        return False


def remove_intent(final: Path) -> None:
    """Delete the intent, once the file is in the ledger."""
    with contextlib.suppress(OSError):
        intent_path(final).unlink()


def intent_path(final: Path) -> Path:
    """Path of the intent for a final name: a hidden file with a name of fixed length."""
    return final.with_name(f".claim-{hashlib.sha256(os.fsencode(final.name)).hexdigest()[:16]}")
