"""What is done to a finished label map before anything is written: post-processing, and the count of its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from itk_infer.outputs.label_map import LabelMapSink
from itk_infer.spec import Label
from itk_infer.spec.postprocessing import Rule
from itk_infer.volume.components import components
from itk_infer.volume.postprocess import RuleEffect, apply_rules
from itk_infer.volume.slab import LabelArray


@dataclass(frozen=True, slots=True)
class Parts:
    """The connected components (26 neighbours) of one label in a finished label map.

    Attributes:
        count: Components.
        outside_largest: Share of the label's voxels outside its largest component; None if it has no voxels.
    """

    count: int
    outside_largest: float | None


def postprocess(sink: LabelMapSink, rules: Sequence[Rule]) -> tuple[RuleEffect, ...]:
    """Apply rules to the label map of a case; errors as of `apply_rules`."""
    case = sink.finished
    labels, effects = apply_rules(case.labels, case.header.grid, case.header.labels, rules)
    if effects or not np.array_equal(labels, case.labels):
        sink.replace(labels)
    return effects


def parts_of(labels: LabelArray, table: Sequence[Label]) -> tuple[Parts, ...]:
    """The components of each label, in the order of the table."""
    found = components(labels, 26)
    parts = []
    for label in table:
        sizes = found.sizes[found.values == label.value]
        share = float(1 - sizes.max() / sizes.sum()) if len(sizes) else None
        parts.append(Parts(len(sizes), share))
    return tuple(parts)
