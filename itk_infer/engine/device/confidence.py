"""Sums of confidence that stay on the device until the end of a case."""

from __future__ import annotations

import numpy as np
import torch

from itk_infer.engine.confidence import Confidence, binary_confidence, categorical_confidence, confidence_of
from itk_infer.engine.decision import Decision


class DeviceConfidenceSum:
    """As `ConfidenceSum`, without waiting for the device."""

    def __init__(self, decision: Decision, device: torch.device) -> None:
        self._decision = decision
        # Column 0 sums, column 1 voxels. Rows: of argmax models one a channel, of the others all voxels,
        # foreground, then one a label.
        rows = decision.channels if decision.output.decision == "argmax" else 2 + len(decision.table)
        self._sums = torch.zeros((rows, 2), dtype=torch.float64, device=device)

    def add(self, values: torch.Tensor, winners: torch.Tensor, masks: torch.Tensor | None) -> None:
        """Take one slab: values (C, dz, Y, X), winning channels or any foreground (dz, Y, X), masks."""
        probabilities = self._decision.output.values == "probabilities"
        if masks is None:
            sure = categorical_confidence(values, probabilities).double().flatten()
            pairs = torch.stack([sure, torch.ones_like(sure)], dim=1)
            self._sums.index_add_(0, winners.flatten(), pairs)
            return
        each = binary_confidence(values[[label.channel for label in self._decision.table]], probabilities)
        sure = each.mean(dim=0)
        chosen = torch.stack([torch.ones_like(winners), winners, *masks])
        rows = torch.stack([sure, sure, *each]).double() * chosen
        self._sums += torch.stack([rows.flatten(1).sum(1), chosen.flatten(1).sum(1)], dim=1)

    def result(self) -> Confidence:
        """The means so far; waits for the device."""
        sums = self._sums.cpu().numpy()
        if self._decision.output.decision == "argmax":
            foreground = sums[self._decision.value_of_channel != 0].sum(axis=0)
            each = [sums[label.channel] for label in self._decision.table]
            sums = np.stack([sums.sum(axis=0), foreground, *each])
        return confidence_of(sums)
