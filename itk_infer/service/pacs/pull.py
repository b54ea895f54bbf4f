"""Studies from an Orthanc: its feed of changes, read from where the last reading ended.

What is complete is decided here: Orthanc's event of a stable study is lost where it restarts before, and it comes
more than once. A study is taken once Orthanc says that it is stable and nothing of it came for a while. What was
stored while this program, or Orthanc, was down is in the feed, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from itk_infer.service.pacs.orthanc import Instance, Orthanc
from itk_infer.service.pacs.source import write_file
from itk_infer.service.pacs.studies import Studies

POSITION = "change"
GROWTH = ("NewInstance", "NewSeries", "NewStudy", "StableSeries", "StableStudy")
# Modalities of objects that are never segmented; our own reports are OT.
NEVER = ("AU", "DOC", "ECG", "FID", "KO", "OT", "PLAN", "PR", "REG", "RTDOSE", "RTPLAN", "RTSTRUCT", "SEG", "SR")


class OrthancSource:
    """See the module and `Source`.

    Args:
        orthanc: The server.
        studies: Where to note what grew.
        only_new: At the first look ever, pass over what is there.
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
            if last < since:  # the database is another one; what was done before is known by its content
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
            path = folder / f"{item.id}.dcm"  # a digest that Orthanc made, never a UID
            if not path.exists():
                data = self._orthanc.file(item.id)
                if data is None:
                    continue
                write_file(data, path)
            found.add(item.uid)
        return found

    def finished(self, study: str) -> None:
        """See `Source`; Orthanc keeps its studies itself."""

    def _wanted(self, study: str) -> list[Instance]:
        return [item for item in self._orthanc.instances(study) if item.modality not in NEVER]
