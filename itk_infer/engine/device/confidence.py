"""Sums of confidence that stay on the device until the end of a case."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from itk_infer.engine.confidence import Confidence, binary, categorical, confidence_of
from itk_infer.engine.decision import Decision
from itk_infer.volume.label_values import value_of

if TYPE_CHECKING:  # it imports this module
    from itk_infer.engine.uncertainty import UncertaintyMap

SPREAD = 64  # rows per channel, so that thousands of threads do not add to the same row


class DeviceConfidenceSum:
    """See `ConfidenceSum`; does not synchronise with the device before `result`."""

    def __init__(
        self, decision: Decision, device: torch.device, uncertainty: UncertaintyMap | None = None
    ) -> None:
        self._decision = decision
        self._uncertainty = uncertainty
        # Column 0: sums; column 1: voxels; column 2 of argmax models: top probabilities. Rows of argmax models:
        # `SPREAD` per channel; of others: all voxels, foreground, then one per label.
        rows = decision.channels * SPREAD if decision.output.decision == "argmax" else 2 + len(decision.table)
        columns = 3 if decision.output.decision == "argmax" else 2
        self._sums = torch.zeros((rows, columns), dtype=torch.float64, device=device)
        # Sums of probabilities: per channel for argmax; else per label, and over the label's own voxels.
        shape = (decision.channels,) if decision.output.decision == "argmax" else (len(decision.table), 2)
        self._expected = torch.zeros(shape, dtype=torch.float64, device=device)

    def add(self, values: torch.Tensor, winners: torch.Tensor, masks: torch.Tensor | None) -> None:
        """Add one slab.

        Args:
            values: Logits or probabilities, (C, dz, Y, X).
            winners: (dz, Y, X): index of the chosen channel for argmax; whether any mask is set for threshold.
            masks: Masks of a threshold model, (L, dz, Y, X); None for argmax.
        """
        probabilities = self._decision.output.values == "probabilities"
        if masks is None:
            chosen = winners if self._decision.weighs else None
            confidence, top, expected = categorical(values, probabilities, chosen)
            if self._uncertainty is not None:
                self._uncertainty.add(confidence)
            self._expected += expected
            sure = confidence.double().flatten()
            triples = torch.stack([sure, torch.ones_like(sure), top.double().flatten()], dim=1)
            rows = torch.arange(len(sure), dtype=torch.int32, device=sure.device) % SPREAD
            rows += winners.flatten().int() * SPREAD
            self._sums.index_add_(0, rows, triples)
            return
        total = torch.zeros(winners.shape, device=winners.device)
        lowest = torch.ones(winners.shape, device=winners.device)
        for row, (label, mask) in enumerate(zip(self._decision.table, masks, strict=True)):
            own, share = binary(value_of(values, label), probabilities)
            self._add(row + 2, own, mask)
            self._expected[row, 0] += share.sum(dtype=torch.float64)
            self._expected[row, 1] += torch.where(mask, share, 0).sum(dtype=torch.float64)
            total += own
            torch.minimum(lowest, own, out=lowest)
        if self._uncertainty is not None:
            self._uncertainty.add(lowest)
        total /= len(self._decision.table)
        self._add(0, total, torch.ones_like(winners))
        self._add(1, total, winners)

    def _add(self, row: int, sure: torch.Tensor, chosen: torch.Tensor) -> None:
        self._sums[row, 0] += torch.where(chosen, sure, 0).sum(dtype=torch.float64)
        self._sums[row, 1] += chosen.sum()

    def result(self) -> Confidence:
        """Return the means so far; waits for the device."""
        sums, expected = self._sums.cpu().numpy(), self._expected.cpu().numpy()
        if self._decision.output.decision == "argmax":
            sums = sums.reshape(-1, SPREAD, 3).sum(axis=1)
            foreground = sums[self._decision.value_of_channel != 0].sum(axis=0)
            channels = [label.channel for label in self._decision.table]
            expected = np.stack([expected[channels], sums[channels, 2]], axis=1)
            sums = np.stack([sums.sum(axis=0), foreground, *sums[channels]])[:, :2]
        return confidence_of(sums, expected)
