"""Reasons to review a case that follow from its own measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from itk_infer.case.result import Measurements

LOW_CONFIDENCE = 0.5  # a confidence, soft Dice or agreement below it is a reason to review a case


def doubts_about(found: Measurements) -> tuple[str, ...]:
    """Return the reasons, one phrase each, without comparison to other cases; empty if there are none."""
    doubts, worst = [], found.worst
    if not any(item.voxels for item in found.labels):
        doubts.append("nothing was found")
    sure = found.confidence if found.confidence_foreground is None else found.confidence_foreground
    if sure is not None and sure < LOW_CONFIDENCE:
        doubts.append("low confidence")
    if worst is not None and (worst.soft_dice or 0.0) < LOW_CONFIDENCE:
        doubts.append(f"low soft Dice of {worst.label.name}")
    least = found.least_agreed
    if least is not None and (least.agreement or 0.0) < LOW_CONFIDENCE:
        doubts.append(f"the members disagree about {least.label.name}")
    return (*doubts, *found.warnings)
