"""The interface of sources of studies, and functions that they share."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from itk_infer.files.commit import commit_file, partial_path, remove


class Source(Protocol):
    """Finds studies that have grown, and copies their files. Methods raise `Unavailable` without a connection."""

    def look(self) -> None:
        """Record in `Studies` which studies have grown since the last call."""
        ...

    def instances(self, study: str) -> Collection[str] | None:
        """SOPInstanceUIDs of the instances of a study that may be segmented; empty if the study is deleted.

        Returns:
            None if the source reports the study as incomplete.
        """
        ...

    def fetch(self, study: str, folder: Path, unwanted: Collection[str]) -> set[str]:
        """Copy the files of a study into a folder; existing files are kept.

        Args:
            study: Identifier of the study.
            folder: Folder to copy to; created if missing.
            unwanted: SOPInstanceUIDs to skip.

        Returns:
            SOPInstanceUIDs of the files.
        """
        ...

    def finished(self, study: str) -> None:
        """Called when a study has not changed for so long that no further instances are expected."""
        ...


def key_of(uids: Collection[str]) -> str:
    """Digest of the instances of a study, independent of their order."""
    return hashlib.sha256("\n".join(sorted(uids)).encode()).hexdigest()


def write_file(data: bytes | memoryview, final: Path) -> None:
    """Write a file that is complete and on disk when this returns.

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
