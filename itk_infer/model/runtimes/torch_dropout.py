"""Dropout at inference of a torch network: only dropout layers are switched on, others do not change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

# Numbers for one sample, more than a case has windows; and for the samples of one seed, more than there are.
SAMPLE, SEED = 1_000_003, 64 * 1_000_003
NAMES = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout")


def dropout_layers(network: nn.Module) -> list[nn.Module]:
    """The dropout layers of a network with a probability above 0; of TorchScript modules, too.

    Dropout that is called as a function is not found.
    """
    return [
        module
        for module in network.modules()
        if getattr(module, "original_name", type(module).__name__) in NAMES and getattr(module, "p", 1) > 0
    ]


class DropoutSample:
    """Switches dropout layers on during calls, each of which has its own seed.

    The same calls in the same order drop the same values; torch's global random state does not change.

    Args:
        layers: See `dropout_layers`.
        seed: Seed of all samples.
        number: Number of the sample, from 0.
        device: Device that runs the network.
    """

    def __init__(self, layers: Sequence[nn.Module], seed: int, number: int, device: str) -> None:
        self._layers, self._device = layers, device
        self._next = seed * SEED + number * SAMPLE

    @contextmanager
    def next(self, windows: int) -> Iterator[None]:
        """Switch dropout on for a call of the network with this number of windows."""
        import torch

        devices = [torch.device(self._device)] if self._device != "cpu" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self._next)
            self._next += windows
            for layer in self._layers:
                layer.train()
            try:
                yield
            finally:
                for layer in self._layers:
                    layer.eval()
