"""Verdicts of a calibration on the masks of a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from itk_infer.files.records import OutputFile
from itk_infer.outputs.tables.table import CaseRow
from itk_infer.run.masks import Mask
from itk_infer.spec.calibration import Calibration, identity_digest


def with_verdicts(
    rows: Sequence[CaseRow], masks: Sequence[Mask], outputs: Mapping[str, OutputFile], calibration: Calibration
) -> list[CaseRow]:
    """Add the verdict on each mask to rows.

    A mask with any reason for review is never accepted. One that was removed or changed gets no verdict.

    Args:
        rows: One row per mask.
        masks: Masks on record.
        outputs: Outputs by path.
        calibration: A calibration of one model; masks of others get no verdict.
    """
    of_path = {mask.path: mask for mask in masks if mask.path}
    judged = []
    for row in rows:
        mask = of_path.get(row.mask)
        if mask is None or not mask.results or not mask.present or mask.changed:
            judged.append(replace(row, verdict="no verdict: the measurements are not those of the mask"))
            continue
        digest = identity_digest(outputs[row.mask].identity)
        reasons = [row.review] if row.review else []
        judged.append(replace(row, verdict=calibration.judge(mask.results, digest, reasons).words))
    return judged
