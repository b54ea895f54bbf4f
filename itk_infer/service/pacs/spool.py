"""Received studies: a folder per study, a file per instance, on the disk before it is acknowledged."""

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

OTHER = "other"  # folder of what is never segmented
SUFFIX = ".dcm"


class Spool:
    """See the module and `Source`.

    Args:
        folder: Folder of the spool; created if it is missing.
        studies: Where to note what grew.

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
        """Keep an instance. It is on the disk, and its study on record, when this returns.

        Args:
            study_uid: Of its study; anything, as it becomes a digest.
            uid: A UID, which becomes the name of its file.
            sop_class: Its class.
            data: The file.

        Raises:
            OSError: it cannot be written.
        """
        study = hashlib.sha256(study_uid.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        folder = self._folder / study
        if never_input(sop_class):
            folder = folder / OTHER
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{uid}{SUFFIX}"
        if _holds(path, data):  # sent again, perhaps because the response was lost
            return
        write_file(data, path)
        self._studies.grew([study])

    def look(self) -> None:
        """See `Source`; the receiver notes what comes."""

    def instances(self, study: str) -> Collection[str] | None:
        """See `Source`."""
        return {path.name.removesuffix(SUFFIX) for path in self._files(study)}

    def fetch(self, study: str, folder: Path, unwanted: Collection[str]) -> set[str]:
        """See `Source`; the files are linked where the file system can."""
        folder.mkdir(parents=True, exist_ok=True)
        found = set()
        for path in self._files(study):
            uid = path.name.removesuffix(SUFFIX)
            if uid in unwanted:
                continue
            with contextlib.suppress(FileExistsError):
                try:
                    os.link(path, folder / path.name)
                except FileExistsError:
                    raise
                except OSError:
                    partial = folder / f".partial-{path.name}"
                    shutil.copyfile(path, partial)
                    partial.replace(folder / path.name)
            found.add(uid)
        return found

    def finished(self, study: str) -> None:
        """See `Source`: what was received is deleted."""
        remove(self._folder / study)

    def _files(self, study: str) -> list[Path]:
        return sorted((self._folder / study).glob(f"[0-9]*{SUFFIX}"))

    def _recover(self) -> None:
        """Note what was written and not yet on record when the last process was killed."""
        known = self._studies.known()
        for folder in self._folder.iterdir():
            times = [path.stat().st_mtime for path in self._files(folder.name)]
            if times and max(times) > known.get(folder.name, 0.0):
                self._studies.grew([folder.name])


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False
