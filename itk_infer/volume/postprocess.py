"""Applies post-processing rules to a finished label map.

Rules only remove labels, or turn background into a label; only a user's function may replace one label by another.
of the user's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
from itk_infer.volume.box import Box
from itk_infer.volume.components import Components, components, runs_of
from itk_infer.volume.custom_rule import apply_custom
from itk_infer.volume.grid import Grid
from itk_infer.volume.morphology import Mask, bounding_box, closed, holes, opened, within
from itk_infer.volume.slab import LabelArray

SIDES = {"axial": "IS", "coronal": "AP", "sagittal": "LR"}
Change = Callable[[Mask], Mask]


@dataclass(frozen=True, slots=True)
class RuleEffect:
    """The effect of one rule on one label.

    Attributes:
        rule: Number of the rule, from 1.
        op: Operation of the rule.
        label: The label.
        before: Number of its voxels before the rule.
        after: Number of its voxels after the rule.
    """

    rule: int
    op: str
    label: Label
    before: int
    after: int


def apply_rules(
    labels: LabelArray, grid: Grid, table: Sequence[Label], rules: Sequence[Rule]
) -> tuple[LabelArray, tuple[RuleEffect, ...]]:
    """Apply all rules in order; return the new label map and the effects.

    Args:
        labels: The label map, (Z, Y, X); it is not changed.
        grid: Its grid.
        table: Its labels.
        rules: Rules to apply.

    Raises:
        SpecError: a rule names a label that is not in the table.
        ConfigError: a function cannot be imported.
        OutputError: a function fails, or does not return a label map of these labels.
    """
    result: LabelArray = np.array(labels, order="C")
    effects: list[RuleEffect] = []
    before = _counts(result, table)
    for number, rule in enumerate(rules, 1):
        result = apply_rule(result, grid, table, rule, f"post-processing rule {number} ({op_of(rule)})")
        after = _counts(result, table)
        effects += [
            RuleEffect(number, op_of(rule), label, before[label.value], after[label.value])
            for label in table
            if before[label.value] != after[label.value]
        ]
        before = after
    return result, tuple(effects)


def bytes_per_voxel(rules: Sequence[Rule], layered: bool = False) -> int:
    """Largest number of bytes per voxel that rules allocate, in addition to the label map.

    Args:
        rules: The rules.
        layered: Whether labels overlap, so that masks are unpacked.
    """
    if not rules:
        return 0
    distances = any(isinstance(rule, Open | Close | Inside) for rule in rules)
    return (16 if distances else 10) + 3 * layered


def vanished(effects: Sequence[RuleEffect]) -> list[str]:
    """A sentence for each label that a rule removed completely."""
    return [
        f"post-processing rule {effect.rule} ({effect.op}) removed all {effect.before:,} voxels of "
        f"{effect.label.name}"
        for effect in effects
        if not effect.after
    ]


def _counts(labels: LabelArray, table: Sequence[Label]) -> dict[int, int]:
    _, length, value = runs_of(labels)
    counts = np.bincount(value, length, minlength=int(np.iinfo(labels.dtype).max) + 1)
    return {label.value: int(counts[label.value]) for label in table}


def apply_rule(result: LabelArray, grid: Grid, table: Sequence[Label], rule: Rule, where: str) -> LabelArray:
    """Apply one rule to a label map; the contiguous input array may be modified, and may be returned.

    Arguments and errors as for `apply_rules`; `where` is for messages.
    """
    spacing = grid.spacing
    if isinstance(rule, Custom):
        return apply_custom(result, grid, table, rule, where)
    chosen = labels_of(rule.labels, table, where)
    if isinstance(rule, KeepLargest | MinSize):
        _drop_components(result, chosen, rule, grid.voxel_volume_ml)
    elif isinstance(rule, Inside):
        _keep_inside(result, chosen, labels_of(rule.of, table, where), rule.margin_mm, spacing)
    elif isinstance(rule, FillHoles):
        axis = _axis(grid, rule.mode)
        smallest = [1 if across == axis else 3 for across in range(3)]  # smallest size of a component with a hole
        _change_components(result, chosen, smallest, lambda mask: mask | holes(mask, axis))
    elif isinstance(rule, Open):
        _change_components(result, chosen, (1, 1, 1), lambda mask: opened(mask, rule.mm, spacing))
    elif isinstance(rule, Close):
        _close(result, chosen, rule.mm, spacing)
    return result


def _drop_components(
    result: LabelArray, chosen: Sequence[Label], rule: KeepLargest | MinSize, voxel_ml: float
) -> None:
    """Set components to background that a rule does not keep."""
    names = np.zeros(np.iinfo(result.dtype).max + 1, result.dtype)
    for label in chosen:
        names[label.value] = 1 if rule.group else label.value
    parts = components(names[result], rule.connectivity)
    if isinstance(rule, MinSize):
        drop = parts.sizes * voxel_ml < rule.ml * (1 - 1e-9)
    else:
        drop = _but_largest(parts, rule.count)
    parts.put(result, drop, 0)


def _but_largest(parts: Components, count: int) -> Mask:
    """Components of each value that are smaller than its `count` largest; of equal sizes all are kept."""
    drop = np.zeros(len(parts.sizes), np.bool_)
    for value in np.unique(parts.values):
        own = parts.values == value
        sizes = np.sort(parts.sizes[own])[::-1]
        drop |= own & (parts.sizes < sizes[min(count, len(sizes)) - 1])
    return drop


def _change_components(
    result: LabelArray, chosen: Sequence[Label], smallest: Sequence[int], change: Change
) -> None:
    """Change each component of each label separately, within its bounding box.

    A hole, whose voxels are connected by faces, is enclosed by one component, connected by corners. A ball is
    connected, so it lies in one component. The results therefore equal those for the whole label.

    Args:
        result: The label map; added voxels replace background only.
        chosen: Labels to change.
        smallest: Components with a smaller box along an axis (Z, Y, X) are skipped.
        change: Function from the mask of a component to the new mask.
    """
    numbers = np.zeros(np.iinfo(result.dtype).max + 1, result.dtype)
    for number, label in enumerate(chosen, 1):
        numbers[label.value] = number
    # Components can be computed before all changes: added voxels were background, and affect no other component.
    for number, box, mask in components(numbers[result], 26).each(smallest):
        _set(result[box], chosen[number - 1].value, mask, change(mask))


def _close(result: LabelArray, chosen: Sequence[Label], mm: float, spacing: Sequence[float]) -> None:
    """Close each label within its bounding box, which closing does not exceed."""
    boxes = boxes_of(result, chosen)
    for label in chosen:
        box = boxes[label.value]
        if box is not None:
            mask = result[box] == label.value
            _set(result[box], label.value, mask, closed(mask, mm, spacing))


def _set(part: LabelArray, value: int, before: Mask, after: Mask) -> None:
    """Change the mask of a label within a part of the label map; added voxels replace background only."""
    part[before & ~after] = 0
    part[after & (part == 0)] = value


def _keep_inside(
    result: LabelArray, chosen: Sequence[Label], of: Sequence[Label], margin_mm: float, spacing: Sequence[float]
) -> None:
    inside = np.isin(result, [label.value for label in of])
    outside = np.isin(result, [label.value for label in chosen]) & ~inside
    # Voxels that have labels of both groups stay.
    box = bounding_box(inside | outside)
    if box is None or not outside.any():
        return
    if margin_mm and inside.any():
        outside[box] &= ~within(inside[box], margin_mm, spacing)
    result[outside] = 0


def boxes_of(labels: LabelArray, chosen: Sequence[Label]) -> dict[int, Box | None]:
    """Bounding boxes of labels by value; None if a label is absent."""
    start, length, value = runs_of(labels)
    z, y, x = np.unravel_index(start, labels.shape)
    boxes: dict[int, Box | None] = {}
    for label in chosen:
        own = np.flatnonzero(value == label.value)
        if not len(own):
            boxes[label.value] = None
            continue
        ends = ((z[own], 1), (y[own], 1), (x[own], length[own]))
        deep, rows, columns = (slice(int(low.min()), int((low + size).max())) for low, size in ends)
        boxes[label.value] = deep, rows, columns
    return boxes


def _axis(grid: Grid, mode: str) -> int | None:
    """The array axis perpendicular to the planes of a mode; None for 3D."""
    if mode == "3d":
        return None
    letters = grid.orientation[::-1]  # codes begin with x, array axes with Z
    return next(axis for axis, letter in enumerate(letters) if letter in SIDES[mode])
