"""A small 3D U-Net: the network of the demo model."""

from __future__ import annotations

from typing import Literal

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

Norm = Literal["instance", "batch"]


class _ConvBlock(nn.Sequential):
    """Two times 3x3x3 convolution, normalisation and leaky ReLU."""

    def __init__(self, channels_in: int, channels_out: int, norm: Norm) -> None:
        layers: list[nn.Module] = []
        for channels in (channels_in, channels_out):
            layers += [
                nn.Conv3d(channels, channels_out, 3, padding=1, bias=False),
                nn.InstanceNorm3d(channels_out, affine=True)
                if norm == "instance"
                else nn.BatchNorm3d(channels_out),
                nn.LeakyReLU(0.01),
            ]
        super().__init__(*layers)


@MODELS.register_module()
class UNet3D(nn.Module):
    """A U-Net of three levels.

    Encoders ``e0`` to ``e2``, strided convolutions ``d``, transposed convolutions ``u``, decoders ``b``.
    The short names are keys of existing weights and cannot change.

    Args:
        in_channels: Input channels.
        n_classes: Output channels, including the background.
        base: Channels of the first level; each level doubles them.
        norm: ``instance`` or ``batch``.
    """

    def __init__(self, in_channels: int = 1, n_classes: int = 3, base: int = 8, norm: Norm = "instance") -> None:
        super().__init__()
        c0, c1, c2 = base, 2 * base, 4 * base
        self.e0 = _ConvBlock(in_channels, c0, norm)
        self.e1 = _ConvBlock(c0, c1, norm)
        self.e2 = _ConvBlock(c1, c2, norm)
        self.d0 = nn.Conv3d(c0, c0, 2, stride=2)
        self.d1 = nn.Conv3d(c1, c1, 2, stride=2)
        self.u1 = nn.ConvTranspose3d(c2, c1, 2, stride=2)
        self.b1 = _ConvBlock(c2, c1, norm)
        self.u0 = nn.ConvTranspose3d(c1, c0, 2, stride=2)
        self.b0 = _ConvBlock(c1, c0, norm)
        self.head = nn.Conv3d(c0, n_classes, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (N, n_classes, Z, Y, X) of (N, in_channels, Z, Y, X); each size a multiple of 4."""
        level0: Tensor = self.e0(inputs)
        level1: Tensor = self.e1(self.d0(level0))
        level2: Tensor = self.e2(self.d1(level1))
        up1 = self.b1(torch.cat([self.u1(level2), level1], dim=1))
        up0 = self.b0(torch.cat([self.u0(up1), level0], dim=1))
        logits: Tensor = self.head(up0)
        return logits
