"""nnU-Net's two U-Nets, with nnU-Net's parameter names. Needs torch.

Only the output of the finest stage is computed; the heads of deep supervision have weights, but are not run.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from itk_infer.model.kinds.nnunet.architecture import Architecture
from itk_infer.model.kinds.nnunet.blocks import ConvBlock, ConvBlocks, Layers, ResidualBlocks

if TYPE_CHECKING:
    from torch import Tensor


class PlainEncoder(nn.Module):
    """Stages of convolutions, each of which begins with a strided one."""

    def __init__(self, layers: Layers, inputs: int) -> None:
        super().__init__()
        about = layers.about
        channels = itertools.pairwise((inputs, *about.features))
        self.stages = nn.Sequential(
            *(
                nn.Sequential(ConvBlocks(layers, count, *ends, kernel, stride))
                for ends, count, kernel, stride in zip(
                    channels, about.encoder, about.kernels, about.strides, strict=True
                )
            )
        )

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """Outputs of all stages, the finest first."""
        return _each(self.stages, inputs)


class ResidualEncoder(nn.Module):
    """A stem, and stages of residual blocks, each of which begins with a strided one."""

    def __init__(self, layers: Layers, inputs: int) -> None:
        super().__init__()
        about = layers.about
        self.stem = ConvBlocks(layers, 1, inputs, about.stem, about.kernels[0], layers.ones)
        channels = itertools.pairwise((about.stem, *about.features))
        inner = about.bottleneck or about.features
        self.stages = nn.Sequential(
            *(
                ResidualBlocks(layers, count, before, inside, after, kernel, stride)
                for (before, after), count, inside, kernel, stride in zip(
                    channels, about.encoder, inner, about.kernels, about.strides, strict=True
                )
            )
        )

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """Outputs of all stages, the finest first."""
        return _each(self.stages, self.stem(inputs))


class Decoder(nn.Module):
    """From the coarsest stage back to the finest, with skip connections from the encoder."""

    def __init__(self, layers: Layers, outputs: int) -> None:
        super().__init__()
        about = layers.about
        stages, enlarging, heads = [], [], []
        for place, count in enumerate(about.decoder, start=1):
            below, skip = about.features[-place], about.features[-place - 1]
            enlarging.append(layers.transposed(below, skip, about.strides[-place]))
            stages.append(ConvBlocks(layers, count, 2 * skip, skip, about.kernels[-place - 1], layers.ones))
            heads.append(layers.conv(skip, outputs, layers.ones, layers.ones, bias=True))
        self.stages = nn.ModuleList(stages)
        self.transpconvs = nn.ModuleList(enlarging)
        self.seg_layers = nn.ModuleList(heads)

    def forward(self, skips: list[Tensor]) -> Tensor:
        """Logits (N, C, ...) of the finest stage, of the encoder's results, which are taken out of their list.

        So each is freed before the convolutions that need the most memory.
        """
        result = skips.pop()
        for stage, enlarge in zip(self.stages, self.transpconvs, strict=True):
            result = stage(torch.cat((enlarge(result), skips.pop()), 1))
        logits: Tensor = self.seg_layers[-1](result)
        return logits


class UNet(nn.Module):
    """A U-Net.

    Args:
        about: Description of the network.
        inputs: Input channels.
        outputs: Output channels.
    """

    def __init__(self, about: Architecture, inputs: int, outputs: int) -> None:
        super().__init__()
        layers = Layers(about)
        encoder = PlainEncoder if about.network == "PlainConvUNet" else ResidualEncoder
        self.encoder = encoder(layers, inputs)
        self.decoder = Decoder(layers, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, C, ...) to logits (N, C', ...) of the same size."""
        logits: Tensor = self.decoder(self.encoder(inputs))
        return logits

    def drop_idle_biases(self) -> int:
        """Remove biases that a normalisation cancels, which changes rounding only.

        Returns:
            Number of biases removed.
        """
        return sum(module.drop_idle_bias() for module in self.modules() if isinstance(module, ConvBlock))


class MeanOfFolds(nn.Module):
    """A network whose logits are the mean of those of several networks.

    Args:
        networks: One per fold.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, C, ...) to mean logits (N, C', ...)."""
        first, *others = self.networks
        total: Tensor = first(inputs)
        for network in others:
            total = total + network(inputs)
        return total / len(self.networks)


def build(about: Architecture, inputs: int, outputs: int) -> UNet:
    """Build a network with uninitialised weights, all of which must be loaded.

    Random initialisation takes seconds for large networks.
    """
    with torch.device("meta"):
        network = UNet(about, inputs, outputs)
    # As `Module.to_empty`, which takes a second to import sympy and other packages.
    for module in network.modules():
        for name, weight in module.named_parameters(recurse=False):
            module.register_parameter(name, nn.Parameter(torch.empty(weight.shape, dtype=weight.dtype)))
        for name, value in module.named_buffers(recurse=False):
            module.register_buffer(name, torch.empty(value.shape, dtype=value.dtype))
    return network


def _each(stages: nn.Sequential, inputs: Tensor) -> list[Tensor]:
    results = []
    for stage in stages:
        inputs = stage(inputs)
        results.append(inputs)
    return results
