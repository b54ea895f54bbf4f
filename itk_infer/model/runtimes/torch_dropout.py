"""Dropout while a torch network infers: only its dropout layers are switched on, all others stay as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

SAMPLE = 1_000_003  # distance of the seeds of two samples: more than the windows of a case
NAMES = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout")


def dropout_layers(network: nn.Module) -> list[nn.Module]:
    """The dropout layers of a network whose share of dropped values is above 0; of TorchScript, too.

    Dropout that a network's own code calls as a function is not found.
    """
    return [
        module
        for module in network.modules()
        if getattr(module, "original_name", type(module).__name__) in NAMES and getattr(module, "p", 1) > 0
    ]


class DropoutSample:
    """Switches dropout layers on for one call after the other, each with a seed of its own.

    The same calls in the same order drop the same values; other random numbers are not disturbed.

    Args:
        layers: See `dropout_layers`.
        number: Of the sample.
        device: That runs the network.
    """

    def __init__(self, layers: Sequence[nn.Module], number: int, device: str) -> None:
        self._layers, self._number, self._device = layers, number, device
        self._windows = 0

    @contextmanager
    def next(self, windows: int) -> Iterator[None]:
        """Around the call of the network for the next so many windows."""
        import torch

        devices = [torch.device(self._device)] if self._device != "cpu" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self._number * SAMPLE + self._windows)
            self._windows += windows
            for layer in self._layers:
                layer.train()
            try:
                yield
            finally:
                for layer in self._layers:
                    layer.eval()
