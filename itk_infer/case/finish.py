"""Steps on a finished label map before outputs are written: post-processing, and the count of its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from itk_infer.outputs.label_map import LabelMapSink
from itk_infer.spec import Label
from itk_infer.spec.postprocessing import Rule
from itk_infer.volume.components import runs_at_most, sizes_by_value
from itk_infer.volume.postprocess import RuleEffect, apply_rules
from itk_infer.volume.slab import LabelArray

NONE = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Parts:
    """The connected components (26 neighbours) of one label in a finished label map.

    Attributes:
        count: Components; None if they were not counted.
        outside_largest: Share of the label's voxels outside its largest component; None if it has no voxels.
    """

    count: int | None
    outside_largest: float | None


def postprocess(sink: LabelMapSink, rules: Sequence[Rule]) -> tuple[RuleEffect, ...]:
    """Apply rules to the label map of a case; raises what `apply_rules` raises."""
    case = sink.finished
    labels, effects = apply_rules(case.labels, case.header.grid, case.header.labels, rules)
    if effects or not np.array_equal(labels, case.labels):
        sink.replace(labels)
    return effects


def most_runs(voxels: int) -> int:
    """Return the largest number of runs of voxels of a label whose components are counted (150 bytes per run)."""
    return max(100_000, voxels // 64)


def parts_of(labels: LabelArray, table: Sequence[Label]) -> tuple[Parts, ...]:
    """Count the connected components of each label, in the order of the table.

    They are not counted where a label has so many runs of voxels that this would take more memory than the case.
    """
    most = most_runs(labels.size)
    if not runs_at_most(labels, 3 * most):
        return (Parts(None, None),) * len(table)
    found = sizes_by_value(labels, 26, most)
    parts = []
    for label in table:
        sizes = found.get(label.value, NONE)
        if sizes is None:
            parts.append(Parts(None, None))
            continue
        share = float(1 - sizes.max() / sizes.sum()) if len(sizes) else None
        parts.append(Parts(len(sizes), share))
    return tuple(parts)
