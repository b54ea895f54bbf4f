"""Where studies come from: the seam, and what sources share."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from itk_infer.files.commit import commit_file, partial_path, remove


class Source(Protocol):
    """Finds out which studies grew, and brings their files. Methods raise `Unavailable` if it cannot now."""

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
        """Bring the files of a study into a folder; those that are there stay.

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
        OSError: it cannot be written; nothing of it is left.
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
    """Whether there is no more room."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
