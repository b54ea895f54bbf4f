"""Sources of studies: the interface, and functions that they share."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from itk_infer.files.commit import commit_file, partial_path, remove


class Source(Protocol):
    """Lists studies that grew, and copies their files. Methods raise `Unavailable` if it cannot be reached."""

    def look(self) -> None:
        """Note in `Studies` what grew since the last look."""
        ...

    def instances(self, study: str) -> Collection[str] | None:
        """SOPInstanceUIDs of what may be segmented in a study; none if it is gone.

        Returns:
            None: the study is not complete yet, as far as the source knows.
        """
        ...

    def fetch(self, study: str, folder: Path, unwanted: Collection[str]) -> set[str]:
        """Copy the files of a study into a folder; files that exist are kept.

        Args:
            study: Its identifier.
            folder: Where to; made if it is missing.
            unwanted: SOPInstanceUIDs to leave out.

        Returns:
            SOPInstanceUIDs of the files.
        """
        ...

    def finished(self, study: str) -> None:
        """Called when a study has been unchanged for long enough that nothing more of it is expected."""
        ...


def key_of(uids: Collection[str]) -> str:
    """Digest of what a study consists of: equal for the same instances, in any order."""
    return hashlib.sha256("\n".join(sorted(uids)).encode()).hexdigest()


def write_file(data: bytes | memoryview, final: Path) -> None:
    """Write a file so that it is on the disk, whole, when this returns.

    Raises:
        OSError: it cannot be written; the incomplete file is removed.
    """
    partial = partial_path(final)
    try:
        partial.write_bytes(data)
        commit_file(partial, final)
    except BaseException as error:
        remove(partial)
        cause = error.__cause__
        if isinstance(cause, OSError):
            raise cause from None
        raise


def is_full(error: OSError) -> bool:
    """Whether an error means that the disk is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
