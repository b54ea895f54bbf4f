"""The label maps on record: which of them exist, and whether their measurements are still valid."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itk_infer.case.identity import difference
from itk_infer.files.records import OutputFile
from itk_infer.outputs.registry import LABELS
from itk_infer.run.case_record import CaseRecord
from itk_infer.run.plan import is_unchanged
from itk_infer.spec import Label


@dataclass(frozen=True, slots=True)
class Mask:
    """One label map on record.

    Attributes:
        path: Below the output folder, with slashes; empty for a case whose mask another program made.
        case: Name of its case.
        results: Its measurements; None if they are not known.
        present: Whether the file exists.
        listed: Whether the case is still on record; if not, the tables have no row for it.
        changed: Whether the file was changed after it was measured.
        difference: How its settings differ from the latest run's, as a phrase; else empty.
        image_gone: Where its image was, if that no longer exists; else empty.
        failure: Why a later attempt failed; else empty.
    """

    path: str
    case: str
    results: dict[str, Any] | None
    present: bool = False
    listed: bool = True
    changed: bool = False
    difference: str = ""
    image_gone: str = ""
    failure: str = ""

    @property
    def labels(self) -> tuple[Label, ...]:
        """Its label table."""
        findings = self.results["findings"] if self.results else ()
        return tuple(Label(f["value"], f["name"], f["color"], f["channel"]) for f in findings)

    @property
    def gone(self) -> bool:
        """Whether the mask or its image no longer exists."""
        return bool(self.image_gone or (self.path and not self.present))

    @property
    def remarks(self) -> list[str]:
        """Why it may differ from a mask of the latest run; empty if it does not."""
        return [
            words
            for words, holds in (
                ("its mask is not of this program", not self.path),
                (f"the mask {self.path} is gone", self.path and not self.present),
                ("the mask was changed by hand after it was measured", self.changed),
                (f"made with {self.difference} than the latest run", self.difference),
                (f"the image is no longer at {self.image_gone}", self.image_gone),
                (f"a later attempt failed: {self.failure}", self.failure),
            )
            if holds
        ]


def masks_on_record(
    folder: Path,
    cases: Mapping[str, CaseRecord],
    outputs: Mapping[str, OutputFile],
    identity: Mapping[str, Any],
) -> list[Mask]:
    """All label maps in the ledger, and cases with results but without a label map; sorted.

    Args:
        folder: Output folder.
        cases: Cases by name.
        outputs: Outputs by path.
        identity: Identity of the latest run's model, see `Predictor.identity`; empty if there was no run.
    """
    lost = images_gone(cases)
    label_maps = [output for output in outputs.values() if output.kind == LABELS]
    per_case = Counter(output.case for output in label_maps)
    masks = [
        Mask("", name, record.results, image_gone=lost.get(name, ""))
        for name, record in cases.items()
        if record.results and name not in per_case
    ]
    for output in label_maps:
        record, path = cases.get(output.case), folder / output.path
        present = os.path.lexists(path)
        results = output.results
        if results is None and record is not None and per_case[output.case] == 1:
            results = record.results  # a ledger of version 1 has them with the case alone
        failed = present and record is not None and record.state == "failed"
        masks.append(
            Mask(
                output.path,
                output.case,
                results,
                present,
                listed=record is not None,
                changed=present and (path.is_symlink() or not is_unchanged(path, output)),
                difference=difference(output.identity, {**output.identity, **identity}, LABELS) if present else "",
                image_gone=lost.get(output.case, ""),
                failure=(record.reason or "") if record is not None and failed else "",
            )
        )
    return sorted(masks, key=lambda mask: (mask.case, mask.path))


def images_gone(cases: Mapping[str, CaseRecord]) -> dict[str, str]:
    """Return, for cases whose image no longer exists, the path at which it was.

    If no image at all is found, their folder is assumed to be not accessible, as on another machine, and the
    result is empty.
    """
    located = {name: record.paths or _absolute(record) for name, record in cases.items()}
    there = {path: _exists(path) for paths in located.values() for path in paths}
    if not any(there.values()):
        return {}
    lost = ((name, [path for path in paths if not there[path]]) for name, paths in located.items())
    return {name: paths[0] for name, paths in lost if paths}


def _exists(path: str) -> bool:
    """Whether a file exists; one in a folder that may not be searched counts as existing."""
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _absolute(record: CaseRecord) -> Sequence[str]:
    """Paths of images in a ledger of version 1; relative ones are left out, as their start is not known."""
    return [item.path for item in record.inputs if Path(item.path).is_absolute()]
