"""The contents of the page for an output folder, and the decisions of reviewers."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from itk_infer.errors import CaseError, ConfigError, InputError
from itk_infer.files.stamp import sha256_of
from itk_infer.outputs.tables.report.entry import Entry, entries_of
from itk_infer.run.decision import Review
from itk_infer.run.ledger import NAME, Ledger
from itk_infer.run.lock import FolderLock
from itk_infer.run.tables import report_view
from itk_infer.spec import Label
from itk_infer.viewer import volumes
from itk_infer.volume.names import UNCERTAINTY, printable, split_suffix


@dataclass(frozen=True, slots=True)
class ViewedCase:
    """One case on the page.

    Attributes:
        entry: Its entry in the report.
        mask: The label map.
        image: Last known path of the image; None if unknown.
        uncertainty: Map of uncertainty beside the mask; None if there is none.
        labels: Label table.
    """

    entry: Entry
    mask: Path
    image: Path | None
    uncertainty: Path | None
    labels: tuple[Label, ...]


class Session:
    """The output folder that a viewer shows.

    Args:
        folder: Output folder of a run.

    Raises:
        ConfigError: the folder holds no ledger.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / NAME).is_file():
            raise ConfigError(f"{folder}: holds no {NAME}; give the output folder of a run")
        self.folder = folder
        self._writing = threading.Lock()
        self._cases: dict[str, ViewedCase] = {}
        self.cases()

    def cases(self) -> list[dict[str, Any]]:
        """All cases with a mask, in the report's order; JSON-ready."""
        with closing(Ledger(self.folder, read_only=True)) as ledger:
            view, records = report_view(self.folder, ledger), ledger.cases()
        cases = {}
        for entry in entries_of(view):
            mask = self.folder / entry.row.mask
            if not entry.facts.sha256 or not entry.row.mask:
                continue
            record = records.get(entry.row.file)
            paths = [Path(path) for path in (record.paths if record else ())]
            beside = mask.with_name(split_suffix(mask.name)[0].removesuffix(".seg") + UNCERTAINTY)
            cases[hashlib.sha256(os.fsencode(entry.row.mask)).hexdigest()[:16]] = ViewedCase(
                entry,
                mask,
                paths[0] if paths else None,
                beside if beside.is_file() else None,
                tuple(view.schemes.get(entry.row.label_table, ())),
            )
        self._cases = cases
        return [self._document(name, case) for name, case in cases.items()]

    def details(self, name: str) -> dict[str, Any]:
        """Notes on a case, and the position to show first; JSON-ready."""
        case = self._case(name)
        notes = []
        image = case.image if case.image and case.image.is_file() else None
        if image is None:
            notes.append("The image is no longer where it was; only the mask is shown.")
        for path in filter(None, (image, case.mask)):
            note = volumes.step_note(path)
            if note and note not in notes:
                notes.append(note)
        return {"image": image is not None, "notes": notes, "target": self.target(name, "")}

    def volume(self, name: str, part: str) -> bytes:
        """A volume of a case as NIfTI.

        Args:
            name: Name of the case.
            part: ``image``, ``labels`` or ``uncertainty``.

        Raises:
            ConfigError: the case has no such volume.
            InputError: the volume cannot be read.
        """
        case = self._case(name)
        parts = {
            "image": (case.image, volumes.image_bytes),
            "labels": (case.mask, volumes.label_bytes),
            "uncertainty": (case.uncertainty, volumes.uncertainty_bytes),
        }
        path, make = parts.get(part, (None, volumes.image_bytes))
        if path is None or not path.is_file():
            raise ConfigError(f"{printable(case.entry.row.file)}: there is no {printable(part)} of this case")
        return make(path)

    def target(self, name: str, what: str) -> dict[str, Any] | None:
        """The position to show; JSON-ready.

        Args:
            name: Name of the case.
            what: Value of a label, ``uncertainty``, or empty for all labels together.
        """
        case = self._case(name)
        if what == "uncertainty" and case.uncertainty:
            return asdict(volumes.most_uncertain(case.uncertainty))
        found = volumes.largest_section(case.mask, int(what) if what.isdecimal() else None)
        return asdict(found) if found else None

    def decide(self, name: str, words: Mapping[str, Any]) -> dict[str, Any]:
        """Record a decision, or drop it if its verdict is empty; JSON-ready.

        Args:
            name: Name of the case.
            words: ``sha256`` of the mask that was reviewed, ``verdict``, ``who``, ``note``.

        Raises:
            ConfigError: the mask has changed since, or a run is using the folder.
        """
        case = self._case(name)
        texts = {key: str(words.get(key, "")) for key in ("sha256", "verdict", "who", "note")}
        path, digest = case.entry.row.mask, texts.pop("sha256")
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._writing:
            if not case.mask.is_file() or sha256_of(case.mask) != digest:
                raise ConfigError(f"{printable(path)}: the mask changed after it was shown; load the page again")
            with FolderLock(self.folder) as lock, closing(Ledger(self.folder, verify=lock.verify)) as ledger:
                if texts["verdict"]:
                    ledger.record_reviews([Review(path, digest, case.entry.row.file, time=time, **texts)])
                else:
                    ledger.forget_reviews([(path, digest)])
        return {**texts, "when": time}

    def _case(self, name: str) -> ViewedCase:
        try:
            return self._cases[name]
        except KeyError:
            raise ConfigError("there is no such case; load the page again") from None

    def _document(self, name: str, case: ViewedCase) -> dict[str, Any]:
        row, facts = case.entry.row, case.entry.facts
        return {
            "id": name,
            "case": printable(row.file),
            "sha256": facts.sha256,
            "reason": printable(row.review),
            "certainty": case.entry.certainty,
            "uncertainty": case.uncertainty is not None,
            "verdict": facts.verdict,
            "who": facts.who,
            "note": facts.note,
            "labels": [
                {
                    "value": label.value,
                    "name": printable(label.name),
                    "rgb": label.rgb,
                    "ml": row.volumes_ml.get(label.name),
                }
                for label in sorted(case.labels, key=lambda label: label.value)
            ],
        }


ERRORS = (ConfigError, InputError, CaseError)  # errors whose message is sent to the page
