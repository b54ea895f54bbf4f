"""The network of the GPU bench: nnU-Net's plain U-Net for 128³ windows, random weights of a fixed seed.

Built from torch alone, so that it travels to a machine without network. Registered for MMEngine configs, so that
itk_infer runs it as it runs any model.
"""

from __future__ import annotations

import torch
from mmengine.registry import MODELS
from torch import nn

FEATURES = (32, 64, 128, 256, 320, 320)


def _block(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    """Two 3x3x3 convolutions, each with instance normalisation and leaky ReLU."""
    layers: list[nn.Module] = []
    for given, step in ((channels_in, stride), (channels_out, 1)):
        layers += [
            nn.Conv3d(given, channels_out, 3, stride=step, padding=1),
            nn.InstanceNorm3d(channels_out, eps=1e-5, affine=True),
            nn.LeakyReLU(0.01, inplace=True),
        ]
    return nn.Sequential(*layers)


@MODELS.register_module()
class PlainUNet(nn.Module):
    """(N, 1, Z, Y, X) to (N, classes, Z, Y, X).

    Args:
        classes: Output channels.
        features: Channels per stage; each stage but the first halves the resolution.
    """

    def __init__(self, classes: int, features: tuple[int, ...] = FEATURES) -> None:
        super().__init__()
        torch.manual_seed(0)
        sizes = [1, *features]
        pairs = list(zip(sizes, features, strict=False))
        self.down = nn.ModuleList(_block(a, b, 1 if i == 0 else 2) for i, (a, b) in enumerate(pairs))
        lower = list(zip(features[:0:-1], features[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose3d(a, b, 2, stride=2) for a, b in lower)
        self.merge = nn.ModuleList(_block(2 * b, b) for _, b in lower)
        self.head = nn.Conv3d(features[0], classes, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Run the network."""
        skips = []
        for block in self.down:
            inputs = block(inputs)
            skips.append(inputs)
        skips.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            inputs = merge(torch.cat([up(inputs), skips.pop()], dim=1))
        return self.head(inputs)


def window_flop(patch: tuple[int, int, int], classes: int, features: tuple[int, ...] = FEATURES) -> float:
    """Operations of all convolutions for one window, two per multiply-add."""
    counted = 0.0

    def count(module: nn.Module, given: tuple[torch.Tensor, ...], answer: torch.Tensor) -> None:
        nonlocal counted
        # Transposed: each input voxel goes to (out, *kernel); else each output voxel sums (in, *kernel).
        voxels = given[0].numel() if isinstance(module, nn.ConvTranspose3d) else answer.numel()
        counted += 2.0 * voxels * module.weight[0].numel()

    with torch.device("meta"):
        network = PlainUNet(classes, features)
        for module in network.modules():
            if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
                module.register_forward_hook(count)
        network(torch.zeros(1, 1, *patch))
    return counted
