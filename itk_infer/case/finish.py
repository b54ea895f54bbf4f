"""Steps on a finished label map before outputs are written: post-processing, and the count of its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from itk_infer.outputs.kept_masks import KeptMasks
from itk_infer.outputs.label_map import LabelMapSink
from itk_infer.spec import Label
from itk_infer.spec.postprocessing import Rule, act_on_layers
from itk_infer.volume.components import distinct, runs_at_most, sizes_by_value
from itk_infer.volume.label_masks import LabelMasks
from itk_infer.volume.postprocess import RuleEffect, apply_rules
from itk_infer.volume.postprocess_layers import ONE, apply_rules_to_layers
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


def postprocess(sink: LabelMapSink, kept: Sequence[KeptMasks], rules: Sequence[Rule]) -> tuple[RuleEffect, ...]:
    """Apply rules to the label map of a case, or to its labels' masks where these may overlap.

    Args:
        sink: The label map.
        kept: Outputs that hold masks; at least one where labels may overlap. They get the result, too.
        rules: What to do.

    Raises:
        SpecError, ConfigError, OutputError: as `apply_rules`.
    """
    case = sink.finished
    grid, table = case.header.grid, case.header.labels
    if case.header.overlaps and act_on_layers(rules):
        masks = kept[0].masks
        effects = apply_rules_to_layers(masks, grid, table, rules)
        for other in kept[1:]:
            other.masks.copy_from(masks)
        sink.paint(masks)
        return effects
    labels, effects = apply_rules(case.labels, grid, table, rules)
    if effects or not np.array_equal(labels, case.labels):
        sink.replace(labels)
        for other in kept:
            for number, label in enumerate(table):
                stays = other.masks[number] & (labels != 0) if case.header.overlaps else False
                other.masks[number] = (labels == label.value) | stays
        if case.header.overlaps:
            sink.voxels = tuple(kept[0].masks.voxels(number) for number in range(len(table)))
    return effects


def most_runs(voxels: int) -> int:
    """Return the largest number of runs of voxels of a label whose components are counted (150 bytes per run)."""
    return max(100_000, voxels // 64)


def parts_of(labels: LabelArray, table: Sequence[Label]) -> tuple[Parts, ...]:
    """Count the connected components of each label, in the order of the table.

    They are not counted where a label has so many runs of voxels that this would take more memory than the case.
    """
    most = most_runs(labels.size)
    few = distinct(labels)
    if not runs_at_most(few.array, 3 * most):
        return (Parts(None, None),) * len(table)
    found = sizes_by_value(few, 26, most)
    parts = []
    for label in table:
        sizes = found.get(label.value, NONE)
        if sizes is None:
            parts.append(Parts(None, None))
            continue
        share = float(1 - sizes.max() / sizes.sum()) if len(sizes) else None
        parts.append(Parts(len(sizes), share))
    return tuple(parts)


def parts_of_masks(masks: LabelMasks) -> tuple[Parts, ...]:
    """The components of each label, each by itself; as `parts_of`."""
    return tuple(parts_of(masks[number].view(np.uint8), [ONE])[0] for number in range(len(masks)))
