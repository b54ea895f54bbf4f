"""The cases of the report, in order of review."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from itk_infer.outputs.tables.table import CaseRow, FolderView, MaskFacts


@dataclass(frozen=True, slots=True)
class Entry:
    """One case of the report.

    Attributes:
        row: Its measurements.
        facts: Everything else in the report.
    """

    row: CaseRow
    facts: MaskFacts

    @property
    def certainty(self) -> float | None:
        """See `CaseRow.certainty`; if that is unknown, the confidence; None if that is unknown, too."""
        values = (self.row.certainty, self.row.confidence_foreground, self.row.confidence)
        return next((float(value) for value in values if value is not None and math.isfinite(value)), None)


def entries_of(view: FolderView) -> Sequence[Entry]:
    """All cases: those with a reason for review first, then by certainty, unknown last."""
    entries = [Entry(row, view.facts.get(row.mask or row.file, MaskFacts())) for row in view.rows]
    return sorted(entries, key=_order)


def _order(entry: Entry) -> tuple[bool, float, str, str]:
    certainty = entry.certainty
    return not entry.row.review, math.inf if certainty is None else certainty, entry.row.file, entry.row.mask
