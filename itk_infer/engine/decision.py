"""What the logits mean: labels, masks and counts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.engine.blocks import blocks
from itk_infer.spec import OutputSpec
from itk_infer.volume.slab import LabelArray

Floats = NDArray[np.float32]


class RunningArgmax:
    """Finds the largest channel of every voxel, the first where several are, one channel after another.

    Args:
        shape: Of the voxels; best no more than a cache holds.
        channels: How many will come at most.

    Attributes:
        winner: Number of the largest channel so far.
    """

    def __init__(self, shape: tuple[int, ...], channels: int) -> None:
        self._best = np.full(shape, -np.inf, np.float32)
        self._better = np.empty(shape, np.bool_)
        self.winner = np.zeros(shape, np.uint8 if channels <= 256 else np.uint16)

    def enter(self, number: int, values: Floats) -> None:
        """Compare channel `number`, which is larger than all before."""
        np.greater(values, self._best, out=self._better)
        np.maximum(self._best, values, out=self._best)
        # Numbers ascend: the largest that was ever better is the last that was.
        better = self._better.view(np.uint8)
        np.maximum(self.winner, np.multiply(better, self.winner.dtype.type(number)), out=self.winner)


def winners(values: Floats) -> NDArray[np.unsignedinteger[Any]]:
    """Index of the largest channel, the first where several are, (C, Z, Y, X) to (Z, Y, X).

    As ``np.argmax(values, axis=0)`` and several times as fast: block by block, in the cache.
    """
    found = np.empty(values.shape[1:], np.uint8 if len(values) <= 256 else np.uint16)
    for block in blocks(found.shape):
        contest = RunningArgmax(found[block].shape, len(values))
        for number, channel in enumerate(values):
            contest.enter(number, channel[block])
        found[block] = contest.winner
    return found


class Decision:
    """The rule of a model spec's ``output`` block, for a network with `channels` output channels.

    Attributes:
        table: The labels, in the order in which overlaps are painted.
        dtype: Smallest unsigned type that holds every label value.
        value_of_channel: Label value of every channel, 0 for the background, (C,).
        bound: What a value must exceed to be a label, for threshold models.

    Raises:
        SpecError: the spec and the number of channels contradict each other.
    """

    def __init__(self, output: OutputSpec, channels: int) -> None:
        self.output = output
        self.channels = channels
        self.table = output.label_table(channels)
        largest = max((label.value for label in self.table), default=0)
        self.dtype: type[np.uint8] | type[np.uint16] = np.uint8 if largest <= 255 else np.uint16
        self.value_of_channel = np.zeros(channels, self.dtype)
        for label in self.table:
            self.value_of_channel[label.channel] = label.value
        t = output.threshold
        self.bound = np.float32(math.log(t / (1 - t)) if output.values == "logits" else t)

    def decide(self, values: Floats) -> tuple[LabelArray, NDArray[np.bool_] | None]:
        """Labels of every voxel, and the masks of the labels where they may overlap.

        Args:
            values: Logits, or probabilities if the spec says so, (C, dz, Y, X).

        Returns:
            Label values (dz, Y, X), and masks (L, dz, Y, X) in the order of `table`, or None for
            argmax. Where masks overlap, the later label stands in the label map.
        """
        if self.output.decision == "argmax":
            return self.value_of_channel[winners(values)], None
        masks = values[[label.channel for label in self.table]] > self.bound
        labels: LabelArray = np.zeros(values.shape[1:], self.dtype)
        for label, mask in zip(self.table, masks, strict=True):
            labels[mask] = label.value
        return labels, masks

    def counts(self, labels: LabelArray, masks: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """Voxels of each label, in the order of `table`; overlapping masks count in full."""
        if masks is not None:
            return np.array([np.count_nonzero(mask) for mask in masks], np.int64)
        found = np.bincount(labels.ravel(), minlength=65536)
        return np.array([found[label.value] for label in self.table], np.int64)
