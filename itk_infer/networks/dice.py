"""Dice as a training loss and as a validation metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS, MODELS
from torch import Tensor, nn
from torch.nn import functional


@MODELS.register_module()
class DiceCrossEntropy(nn.Module):
    """Cross-entropy plus one minus the mean soft Dice over all labels except the background."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss of logits (N, C, Z, Y, X) against labels (N, Z, Y, X) of type int64."""
        target = functional.one_hot(labels, logits.shape[1]).movedim(-1, 1)[:, 1:]
        predicted = logits.softmax(dim=1)[:, 1:]
        axes = (0, 2, 3, 4)
        # The small constant gives a label that is absent and not predicted a Dice of 1.
        dice = (2 * (predicted * target).sum(axes) + 1e-5) / ((predicted + target).sum(axes) + 1e-5)
        return functional.cross_entropy(logits, labels) + 1 - dice.mean()


@METRICS.register_module()
class MeanDice(BaseMetric):  # type: ignore[misc]  # MMEngine is untyped
    """Dice of each label over all voxels of a validation set, reported as ``dice_<label>`` and ``mean_dice``.

    Args:
        labels: Label values to report.
    """

    def __init__(self, labels: Sequence[int]) -> None:
        super().__init__()
        self.labels = tuple(labels)

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Tensor]]) -> None:
        """Count the voxels of one batch's predictions."""
        for case in data_samples:
            masks = [(case["predicted"] == value, case["labels"] == value) for value in self.labels]
            self.results.append([(int((a & b).sum()), int(a.sum() + b.sum())) for a, b in masks])

    def compute_metrics(self, results: Sequence[Sequence[tuple[int, int]]]) -> dict[str, float]:
        """Dice from the sums of all cases' counts."""
        dice = {}
        for value, counts in zip(self.labels, zip(*results, strict=True), strict=True):
            both, total = (sum(numbers) for numbers in zip(*counts, strict=True))
            dice[f"dice_{value}"] = 2 * both / total if total else 1.0
        return {**dice, "mean_dice": sum(dice.values()) / len(dice)}
