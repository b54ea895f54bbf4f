"""Applies post-processing rules to labels that may overlap; each label has its own mask.

A rule changes a mask as it would change a label map without other labels, so voxels added to a label may also
belong to other labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from itk_infer.spec.labels import Label
from itk_infer.spec.postprocessing import (
    Close,
    Custom,
    FillHoles,
    Inside,
    KeepLargest,
    MinSize,
    Open,
    Rule,
    labels_of,
    op_of,
)
from itk_infer.volume.custom_rule import apply_custom
from itk_infer.volume.grid import Grid
from itk_infer.volume.label_masks import LabelMasks, Mask
from itk_infer.volume.postprocess import RuleEffect, apply_rule
from itk_infer.volume.slab import LabelArray

Alone = KeepLargest | MinSize | FillHoles | Open | Close  # rules that use one mask
ONE = Label(1, "1", "#ffffff", 0)
OTHER = Label(2, "2", "#ffffff", 1)


def apply_rules_to_layers(
    masks: LabelMasks, grid: Grid, table: Sequence[Label], rules: Sequence[Rule]
) -> tuple[RuleEffect, ...]:
    """Apply all rules in order, and return their effects.

    Args:
        masks: One mask per label of the table; changed in place.
        grid: Grid of the masks.
        table: The label table.
        rules: Rules to apply. User functions are called once per label, with a label map of that label only.

    Raises:
        SpecError, ConfigError, OutputError: as for `apply_rules`.
    """
    effects: list[RuleEffect] = []
    before = [masks.voxels(number) for number in range(len(table))]
    for number, rule in enumerate(rules, 1):
        _apply(masks, grid, table, rule, f"post-processing rule {number} ({op_of(rule)})")
        after = [masks.voxels(label) for label in range(len(table))]
        effects += [
            RuleEffect(number, op_of(rule), label, *counts)
            for label, *counts in zip(table, before, after, strict=True)
            if counts[0] != counts[1]
        ]
        before = after
    return tuple(effects)


def _apply(masks: LabelMasks, grid: Grid, table: Sequence[Label], rule: Rule, where: str) -> None:
    if isinstance(rule, Custom):
        _by_function(masks, grid, table, rule, where)
        return
    chosen = _numbers(rule.labels, table, where)
    if isinstance(rule, Inside):
        _keep_inside(masks, chosen, _numbers(rule.of, table, where), grid, rule, where)
    elif isinstance(rule, KeepLargest | MinSize) and rule.group:
        kept = _changed(_union(masks, chosen), grid, replace(rule, group=False), where)
        for number in chosen:
            masks[number] = masks[number] & kept
    else:
        for number in chosen:
            masks[number] = _changed(masks[number], grid, rule, where)


def _numbers(names: tuple[str | int, ...], table: Sequence[Label], where: str) -> list[int]:
    """Indices in the table of the labels that a rule names."""
    chosen = labels_of(names, table, where)
    return [number for number, label in enumerate(table) if label in chosen]


def _changed(mask: Mask, grid: Grid, rule: Alone, where: str) -> Mask:
    """Apply a rule to one mask."""
    if not mask.any():
        return mask
    result = apply_rule(mask.astype(np.uint8), grid, [ONE], replace(rule, labels=()), where)
    return result.view(np.bool_)


def _union(masks: LabelMasks, chosen: Sequence[int]) -> Mask:
    union = masks[chosen[0]]
    for number in chosen[1:]:
        union |= masks[number]
    return union


def _keep_inside(
    masks: LabelMasks, chosen: Sequence[int], of: Sequence[int], grid: Grid, rule: Inside, where: str
) -> None:
    """Apply an `Inside` rule by one label map: 1 inside, 2 where any of the chosen labels lies outside."""
    places = _union(masks, of).astype(np.uint8)
    places[_union(masks, chosen) & (places == 0)] = OTHER.value
    rule = replace(rule, of=(ONE.value,), labels=(OTHER.value,))
    stays = apply_rule(places, grid, [ONE, OTHER], rule, where) != 0
    for number in chosen:
        masks[number] = masks[number] & stays


def _by_function(masks: LabelMasks, grid: Grid, table: Sequence[Label], rule: Custom, where: str) -> None:
    for number, label in enumerate(table):
        alone: LabelArray = np.zeros(grid.size, np.min_scalar_type(max(each.value for each in table)))
        alone[masks[number]] = label.value
        masks[number] = apply_custom(alone, grid, [label], rule, f"{where}, {label.name}") != 0
