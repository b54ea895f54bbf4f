"""Studies from an Orthanc server: its change feed, read from the position where the last reading ended.

This module decides when a study is complete, as Orthanc's event of a stable study is lost if Orthanc restarts,
and may occur more than once. A study is taken if Orthanc reports it as stable and no instance arrived for a while.
Instances that were stored while this program or Orthanc was down are in the feed, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from itk_infer.service.pacs.orthanc import Instance, Orthanc
from itk_infer.service.pacs.source import write_file
from itk_infer.service.pacs.studies import Studies

POSITION = "change"
GROWTH = ("NewInstance", "NewSeries", "NewStudy", "StableSeries", "StableStudy")
# Modalities of objects that are never segmented; this program's reports have the modality OT.
NEVER = ("AU", "DOC", "ECG", "FID", "KO", "OT", "PLAN", "PR", "REG", "RTDOSE", "RTPLAN", "RTSTRUCT", "SEG", "SR")


class OrthancSource:
    """Studies of an Orthanc server; implements `Source`.

    Args:
        orthanc: The server.
        studies: Records the studies that have grown.
        only_new: Whether to skip, when reading for the first time, what is there.
        check: Called between requests; raises to stop.
    """

    def __init__(
        self, orthanc: Orthanc, studies: Studies, *, only_new: bool, check: Callable[[], None] = lambda: None
    ) -> None:
        self._orthanc = orthanc
        self._studies = studies
        self._only_new = only_new
        self._check = check

    def look(self) -> None:
        """See `Source`."""
        position = self._studies.fact(POSITION)
        if not position:
            position = str(self._orthanc.last_change() if self._only_new else 0)
            self._studies.note(change=position)
        since, done = int(position), False
        while not done:
            self._check()
            changes, last, done = self._orthanc.changes(since)
            if last < since:  # Orthanc has a new database; finished studies are recognised by content
                since, done = 0, False
                self._studies.note(change="0")
                continue
            grown = {
                study
                for change in changes
                if change["ChangeType"] in GROWTH and (study := self._orthanc.study_of(change)) is not None
            }
            if last != since:
                self._studies.grew(grown, {POSITION: str(last)})
            since = last

    def instances(self, study: str) -> Collection[str] | None:
        """See `Source`."""
        stable = self._orthanc.is_stable(study)
        if stable is None:
            return ()
        return {item.uid for item in self._wanted(study)} if stable else None

    def fetch(self, study: str, folder: Path, unwanted: Collection[str]) -> set[str]:
        """See `Source`."""
        folder.mkdir(parents=True, exist_ok=True)
        found = set()
        for item in self._wanted(study):
            self._check()
            if item.uid in unwanted:
                continue
            path = folder / f"{item.id}.dcm"  # Orthanc's identifier is a digest, not a UID
            if not path.exists():
                data = self._orthanc.file(item.id)
                if data is None:
                    continue
                write_file(data, path)
            found.add(item.uid)
        return found

    def finished(self, study: str) -> None:
        """See `Source`; does nothing, as Orthanc manages its studies."""

    def _wanted(self, study: str) -> list[Instance]:
        return [item for item in self._orthanc.instances(study) if item.modality not in NEVER]
