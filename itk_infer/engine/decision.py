"""The decision: from logits to labels, masks and voxel counts, by the rule of the model spec."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.arrays import Array, namespace
from itk_infer.engine.activation import activated
from itk_infer.engine.blocks import blocks
from itk_infer.spec import OutputSpec
from itk_infer.spec.labels import distinct
from itk_infer.volume.slab import LabelArray

Floats = NDArray[np.float32]
FEW_LABELS = 30  # up to which voxels are counted sooner label by label
CERTAIN = 20.0  # a logit whose probability differs from 1 by 2e-9


class RunningArgmax:
    """The index of the largest channel of every voxel, updated one channel at a time; ties go to the first.

    Args:
        shape: Shape of the voxels; fastest where it fits in the processor's cache.
        channels: Maximum number of channels.

    Attributes:
        winner: Index of the largest channel so far, of `shape`.
    """

    def __init__(self, shape: tuple[int, ...], channels: int) -> None:
        self._best = np.full(shape, -np.inf, np.float32)
        self._better = np.empty(shape, np.bool_)
        self.winner = np.zeros(shape, np.uint8 if channels <= 256 else np.uint16)

    def update(self, number: int, values: Floats) -> None:
        """Compare the values of channel `number`; numbers must ascend from call to call."""
        np.greater(values, self._best, out=self._better)
        np.maximum(self._best, values, out=self._best)
        # Numbers ascend, so the maximum of those that were better is the last that was.
        better = self._better.view(np.uint8)
        np.maximum(self.winner, np.multiply(better, self.winner.dtype.type(number)), out=self.winner)


def winners(values: Floats) -> NDArray[np.unsignedinteger[Any]]:
    """Index of the largest channel, the first in case of ties, (C, Z, Y, X) to (Z, Y, X).

    Equals ``np.argmax(values, axis=0)`` and is several times as fast: it works on blocks that fit in the cache.
    """
    indices = np.empty(values.shape[1:], np.uint8 if len(values) <= 256 else np.uint16)
    for block in blocks(indices.shape):
        argmax = RunningArgmax(indices[block].shape, len(values))
        for number, channel in enumerate(values):
            argmax.update(number, channel[block])
        indices[block] = argmax.winner
    return indices


class Decision:
    """The rule of a model spec's ``output`` block, for a network with `channels` output channels.

    Attributes:
        painting: What is painted, in this order: where masks overlap, later entries replace earlier ones. Several
            may have the same value.
        table: The labels: each value of `painting` once.
        dtype: Smallest unsigned type that holds every label value.
        value_of_channel: Label value of every channel, 0 for the background, (C,).
        channel_of_value: Channel of every label value, up to the largest; 0 where there is none.
        bounds: For threshold models: a voxel has the label where its value exceeds this; ordered as `painting`.
        label_bounds: The same, ordered as `table`.
        weighs: Whether `scores` differ from values: labels of an argmax model have thresholds.

    Raises:
        SpecError: the spec and the number of channels contradict each other.
    """

    def __init__(self, output: OutputSpec, channels: int) -> None:
        self.output = output
        self.channels = channels
        self.painting = output.painting(channels)
        self.table = distinct(self.painting)
        largest = max((label.value for label in self.table), default=0)
        self.dtype: type[np.uint8] | type[np.uint16] = np.uint8 if largest <= 255 else np.uint16
        self.value_of_channel = np.zeros(channels, self.dtype)
        self.channel_of_value = np.zeros(largest + 1, np.intp)
        for label in self.painting:
            self.value_of_channel[label.channel] = label.value
        for label in self.table:
            self.channel_of_value[label.value] = label.channel
        values = [label.value for label in self.painting]
        self._entries = [[n for n, value in enumerate(values) if value == label.value] for label in self.table]
        self.weighs = output.decision == "argmax" and bool(output.label_thresholds)
        by_channel = output.threshold_by_channel(channels)
        self._limits = {channel: limit for channel, limit in enumerate(by_channel) if limit is not None}
        shares = np.array([self._limits.get(label.channel, 0.5) for label in self.painting])
        logits = output.values == "logits"
        self.bounds: Floats = (np.log(shares / (1 - shares)) if logits else shares).astype(np.float32)
        self.label_bounds: Floats = self.bounds[[entries[0] for entries in self._entries]]

    def scores(self, values: Array) -> Array:
        """For argmax: what the channels are compared by, (C, ...).

        The values themselves or, where labels have thresholds, probabilities: a channel with a threshold counts
        as many times it as its probability is, above it, and less than every other channel below it.
        """
        if not self.weighs:
            return values
        xp = namespace(values)
        logits = self.output.values == "logits"
        scores = activated(values, self.output) if logits else xp.astype(values, xp.float32, copy=True)
        for channel, limit in self._limits.items():
            share = scores[channel]
            scores[channel] = xp.where(share > limit, share / limit, -1.0)
        return scores

    def decide(self, values: Floats) -> tuple[LabelArray, NDArray[np.bool_] | None]:
        """Labels of every voxel, and the masks of the labels where they may overlap.

        Args:
            values: Logits, or probabilities if the spec says so, (C, dz, Y, X).

        Returns:
            Label values (dz, Y, X), and masks (L, dz, Y, X) in the order of `table`, or None for
            argmax. Where masks overlap, the label map holds what is painted later.
        """
        if self.output.decision == "argmax":
            return self.value_of_channel[winners(self.scores(values))], None
        masks = values[[label.channel for label in self.painting]] > self.bounds[:, None, None, None]
        labels: LabelArray = np.empty(values.shape[1:], self.dtype)
        self.paint(masks, labels)
        return labels, self.of_labels(masks)

    def paint(self, masks: NDArray[np.bool_], labels: LabelArray) -> None:
        """Write label values, (dz, Y, X), for masks of the entries of `painting`, (P, dz, Y, X)."""
        labels.fill(0)
        for label, mask in zip(self.painting, masks, strict=True):
            labels[mask] = label.value

    def of_labels(self, masks: Array) -> Array:
        """Masks of the entries of `painting`, (P, ...), as masks of the labels, (L, ...)."""
        if len(self.painting) == len(self.table):
            return masks
        xp = namespace(masks)
        return xp.stack([xp.any(masks[entries], axis=0) for entries in self._entries])

    def outside(self) -> Floats:
        """Outputs of a network that is certain of background, (C,), for voxels outside of a crop."""
        logits = self.output.values == "logits"
        values = np.full(self.channels, -CERTAIN if logits else 0.0, np.float32)
        if self.output.decision == "argmax":
            values[self.value_of_channel == 0] = CERTAIN if logits else 1.0
        return values

    def counts(self, labels: LabelArray, masks: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """Voxels of each label, in the order of `table`; overlapping masks count in full."""
        if masks is not None:
            return np.array([np.count_nonzero(mask) for mask in masks], np.int64)
        if len(self.table) <= FEW_LABELS:
            return np.array([np.count_nonzero(labels == label.value) for label in self.table], np.int64)
        counts = np.bincount(labels.ravel(), minlength=65536)
        return np.array([counts[label.value] for label in self.table], np.int64)
