"""Claims: a note beside a file, written before the file gets its name, that this program made it.

The ledger learns of a file after it has its name. Whoever is killed between the two leaves the claim;
the next run reads it, and does not take the file for somebody else's work.
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
    """Size, modification time and inode. Equal stamps are taken for equal content; a rename keeps them.

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
    stats = [file.stat() for file in files_in(path)]
    newest = max((found.st_mtime_ns for found in stats), default=0)
    return Stamp(sum(found.st_size for found in stats), newest, len(stats))


def files_in(folder: Path) -> list[Path]:
    """All files below a folder, sorted."""
    return sorted(Path(root, name) for root, _, names in os.walk(folder) for name in names)


def claim(partial: Path, final: Path) -> None:
    """Note that `partial`, complete and verified, is about to become `final`."""
    release(final)  # one that another user's run left may be replaced, but not written
    with claim_path(final).open("w", encoding="utf-8") as file:
        json.dump({"name": final.name, **asdict(stamp_of(partial))}, file)
        file.flush()
        os.fsync(file.fileno())


def is_intended(final: Path) -> bool:
    """Whether the file under this name is the very one that was claimed, untouched since."""
    try:
        note = json.loads(claim_path(final).read_text("utf-8"))
        return bool(note == {"name": final.name, **asdict(stamp_of(final))})
    except (OSError, ValueError):
        return False


def release(final: Path) -> None:
    """Forget the claim: the ledger knows the file now."""
    with contextlib.suppress(OSError):
        claim_path(final).unlink()


def claim_path(final: Path) -> Path:
    """Where the claim on a name stands; hidden, and of a fixed length."""
    return final.with_name(f".claim-{hashlib.sha256(os.fsencode(final.name)).hexdigest()[:16]}")
