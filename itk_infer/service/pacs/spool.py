"""Received studies: one folder per study, one file per instance, each on disk before it is acknowledged."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Collection
from pathlib import Path

from itk_infer.files.commit import remove, sweep_partials
from itk_infer.files.folders import make_folder
from itk_infer.service.pacs.objects import never_input
from itk_infer.service.pacs.source import write_file
from itk_infer.service.pacs.studies import Studies

OTHER = "other"  # folder of objects that are never segmented
SUFFIX = ".dcm"


class Spool:
    """Stores received studies; implements `Source`.

    Args:
        folder: Folder of the spool; created if missing.
        studies: Records the studies that have grown.

    Raises:
        ConfigError: the folder cannot be made.
    """

    def __init__(self, folder: Path, studies: Studies) -> None:
        self._folder = folder
        self._studies = studies
        make_folder(folder)
        sweep_partials(folder, recursive=True)
        self._recover()

    def store(self, study_uid: str, uid: str, sop_class: str, data: bytes) -> None:
        """Store an instance. It is on disk, and its study recorded, when this returns.

        Args:
            study_uid: UID of its study; may be any text, because the folder's name is a digest of it.
            uid: SOPInstanceUID; names its file.
            sop_class: SOPClassUID.
            data: Content of the file.

        Raises:
            OSError: the file cannot be written.
            sqlite3.OperationalError: the study cannot be recorded; the file is removed.
        """
        study = _digest(study_uid)
        folder = self._folder / study
        if never_input(sop_class):
            folder = folder / OTHER
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{uid}{SUFFIX}"
        if _holds(path, data):  # sent again, perhaps because the response was lost
            self._studies.came_again(study)
            return
        write_file(data, path)
        try:
            self._studies.grew([study])
        except BaseException:
            remove(path)  # sent again, it would be taken for known, and its study never be looked at
            raise

    def look(self) -> None:
        """See `Source`; does nothing, as `store` records the studies."""

    def instances(self, study: str) -> Collection[str] | None:
        """See `Source`."""
        return {path.name.removesuffix(SUFFIX) for path in self._files(study)}

    def fetch(self, study: str, folder: Path, unwanted: Collection[str]) -> set[str]:
        """See `Source`; files are hard-linked if the file system can. Messages show their names: no UIDs."""
        folder.mkdir(parents=True, exist_ok=True)
        found = set()
        for path in self._files(study):
            uid = path.name.removesuffix(SUFFIX)
            if uid in unwanted:
                continue
            copy = folder / f"{_digest(uid)}{SUFFIX}"
            with contextlib.suppress(FileExistsError):
                try:
                    os.link(path, copy)
                except FileExistsError:
                    raise
                except OSError:
                    partial = folder / f".partial-{copy.name}"
                    shutil.copyfile(path, partial)
                    partial.replace(copy)
            found.add(uid)
        return found

    def finished(self, study: str) -> None:
        """See `Source`; deletes the received files."""
        remove(self._folder / study)

    def _files(self, study: str) -> list[Path]:
        return sorted((self._folder / study).glob(f"[0-9]*{SUFFIX}"))

    def _recover(self) -> None:
        """Record instances that were written, but not recorded, when the last process was killed."""
        known = self._studies.known()
        for folder in self._folder.iterdir():
            times = [path.stat().st_mtime for path in self._files(folder.name)]
            if times and max(times) > known.get(folder.name, 0.0):
                self._studies.grew([folder.name])


def _digest(uid: str) -> str:
    return hashlib.sha256(uid.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False
