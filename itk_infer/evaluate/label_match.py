"""Matching of label values between masks and ground truth: by name, then by value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NamedLabel:
    """An entry of a label table.

    Attributes:
        value: Voxel value.
        name: Name of the structure.
        tolerance_mm: Tolerance of the NSD in mm; None: the default.
    """

    value: int
    name: str
    tolerance_mm: float | None = None


Table = Mapping[int, NamedLabel]


@dataclass(frozen=True, slots=True)
class LabelPair:
    """A structure that both label maps have a value for.

    Attributes:
        name: Name of the structure; ``label 3`` if neither table names it.
        mask: Value in the masks.
        truth: Value in the ground truth.
        matched_by: ``name`` or ``value``.
        tolerance_mm: Tolerance from the label tables, in mm; None: the default.
    """

    name: str
    mask: int
    truth: int
    matched_by: str
    tolerance_mm: float | None = None


def match_labels(
    mask_table: Table, truth_table: Table, mask_values: Iterable[int], truth_values: Iterable[int]
) -> tuple[list[LabelPair], list[str]]:
    """Match the labels of a mask and its ground truth.

    1. Labels of the same name match, whatever their values; case is ignored.
    2. Of the rest, equal values match, unless both tables name them differently.
    3. A value on one side only is compared with an empty label (missed, or a false alarm), unless the other side
       has a label table that does not list it.

    Args:
        mask_table: Label table of the masks; empty if there is none.
        truth_table: Label table of the ground truth.
        mask_values: Values that occur in the mask, without 0.
        truth_values: Values that occur in the ground truth, without 0.

    Returns:
        Pairs, sorted by value in the mask; and a sentence per value that is not compared.
    """
    by_name = {label.name.strip().casefold(): label for label in truth_table.values()}
    pairs, notes = [], []
    for label in mask_table.values():
        other = by_name.get(label.name.strip().casefold())
        if other is not None:
            tolerance = label.tolerance_mm if label.tolerance_mm is not None else other.tolerance_mm
            pairs.append(LabelPair(label.name, label.value, other.value, "name", tolerance))
    masks = {*mask_table, *mask_values} - {pair.mask for pair in pairs}
    truths = {*truth_table, *truth_values} - {pair.truth for pair in pairs}
    taken = {pair.mask for pair in pairs}, {pair.truth for pair in pairs}
    for value in sorted(masks | truths):
        ours, theirs = mask_table.get(value), truth_table.get(value)
        known = ours or theirs
        if ours is not None and theirs is not None and value in masks and value in truths:
            notes.append(
                f"value {value} is {ours.name} in the masks and {theirs.name} in the truths: not compared"
            )
        elif value not in truths and (truth_table or value in taken[1]):
            notes.append(f"{_words(value, ours)} is in the masks' labels only: not compared")
        elif value not in masks and (mask_table or value in taken[0]):
            notes.append(f"{_words(value, theirs)} is in the truths' labels only: not compared")
        else:
            name = known.name if known else f"label {value}"
            pairs.append(LabelPair(name, value, value, "value", known.tolerance_mm if known else None))
    return sorted(pairs, key=lambda pair: pair.mask), notes


def _words(value: int, label: NamedLabel | None) -> str:
    return f"value {value} ({label.name})" if label else f"value {value}"
