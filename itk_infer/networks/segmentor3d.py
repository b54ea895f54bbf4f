"""A 3D segmentation network with the interface of MMEngine's Runner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

Targets = Mapping[str, Tensor]


@MODELS.register_module()
class Segmentor3D(BaseModel):  # type: ignore[misc]  # MMEngine is untyped
    """Any network that maps (N, C, Z, Y, X) to logits of the same spatial size, with a training loss.

    Args:
        network: The network, or its config; its weights are named ``network.*``.
        loss: A module called with (logits, labels), or its config. Dice plus cross-entropy by default.
        data_preprocessor: As in any MMEngine model; the default one only moves data to the device.
    """

    def __init__(
        self,
        network: nn.Module | dict[str, Any],
        loss: nn.Module | dict[str, Any] | None = None,
        data_preprocessor: nn.Module | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.network = _module(network)
        self.criterion = _module(loss or {"type": "DiceCrossEntropy"})

    def forward(self, inputs: Tensor, data_samples: Targets | None = None, mode: str = "tensor") -> Any:
        """Run the network in one of MMEngine's three modes.

        Args:
            inputs: (N, C, Z, Y, X) float32.
            data_samples: ``labels``, (N, Z, Y, X) integers; needed for ``loss``.
            mode: ``tensor`` returns the logits; ``predict`` one mapping per case with ``predicted`` (Z, Y, X)
                and, if given, its ``labels``; ``loss`` a mapping of losses.
        """
        logits = self.network(inputs)
        if mode == "tensor":
            return logits
        if mode == "predict":
            cases = [{"predicted": labels} for labels in logits.argmax(dim=1)]
            for case, labels in zip(cases, (data_samples or {}).get("labels", ()), strict=False):
                case["labels"] = labels
            return cases
        if mode == "loss" and data_samples is not None:
            return {"loss": self.criterion(logits, data_samples["labels"])}
        raise ValueError(f"mode must be tensor, predict, or loss with data_samples; not {mode!r}")


def _module(module: nn.Module | dict[str, Any]) -> Any:
    return module if isinstance(module, nn.Module) else MODELS.build(module)
