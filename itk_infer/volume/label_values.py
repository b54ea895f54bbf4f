"""A network's values per label, from arrays with one row per output channel."""

from __future__ import annotations

from collections.abc import Sequence

from itk_infer.arrays import Array, namespace
from itk_infer.spec import Label


def value_of(values: Array, label: Label) -> Array:
    """Logits or probabilities of a label: those of its channel, or the maximum over several channels.

    Args:
        values: (C, ...), one row per channel.
        label: The label.

    Returns:
        (...); a view of `values` if the label has one channel.
    """
    if not label.also:
        return values[label.channel]
    return namespace(values).max(values[list(label.channels)], axis=0)


def values_of(values: Array, table: Sequence[Label]) -> Array:
    """Logits or probabilities of all labels, (L, ...), in the order of the table."""
    if not any(label.also for label in table):
        return values[[label.channel for label in table]]
    return namespace(values).stack([value_of(values, label) for label in table])
