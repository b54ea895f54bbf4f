"""Building blocks of nnU-Net's networks, with nnU-Net's parameter names. Needs torch.

Dropout has no parameters, and runs only while its layer is switched on (`model.runtimes.torch_dropout`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from itk_infer.model.kinds.nnunet.architecture import Architecture

if TYPE_CHECKING:
    from torch import Tensor

Size = Sequence[int]  # along the network's axes


class Layers:
    """Makes the layers of one network, with its number of dimensions and keyword arguments.

    Args:
        about: The network.
    """

    def __init__(self, about: Architecture) -> None:
        self.about = about
        self._flat = about.dimensions == 2

    def conv(self, inputs: int, outputs: int, kernel: Size, stride: Size, *, bias: bool) -> nn.Module:
        """A convolution with padding; the size is divided by the stride."""
        kind = nn.Conv2d if self._flat else nn.Conv3d
        padding = tuple((k - 1) // 2 for k in kernel)
        return kind(inputs, outputs, tuple(kernel), tuple(stride), padding, bias=bias)  # type: ignore[arg-type]

    def transposed(self, inputs: int, outputs: int, stride: Size) -> nn.Module:
        """A transposed convolution; the size is multiplied by the stride."""
        kind = nn.ConvTranspose2d if self._flat else nn.ConvTranspose3d
        return kind(inputs, outputs, tuple(stride), tuple(stride), bias=self.about.bias)  # type: ignore[arg-type]

    def pool(self, stride: Size) -> nn.Module:
        """Average pooling."""
        kind = nn.AvgPool2d if self._flat else nn.AvgPool3d
        return kind(tuple(stride), tuple(stride))  # type: ignore[arg-type]

    def norm(self, channels: int) -> nn.Module | None:
        """The normalisation, if the network has any."""
        if self.about.norm is None:
            return None
        kind = getattr(nn, f"{self.about.norm}Norm{self.about.dimensions}d")
        made: nn.Module = kind(channels, **self.about.norm_keywords)
        return made

    def activation(self) -> nn.Module | None:
        """The activation, if the network has any."""
        if self.about.activation is None:
            return None
        made: nn.Module = getattr(nn, self.about.activation)(**self.about.activation_keywords)
        return made

    def dropout(self) -> nn.Module | None:
        """The dropout after a convolution, if the plans name any that drops something."""
        if self.about.dropout is None:
            return None
        name, share = self.about.dropout
        made: nn.Module = getattr(nn, name)(share)
        return made

    @property
    def ones(self) -> Size:
        """Kernel size or stride of 1 along every axis."""
        return (1,) * self.about.dimensions


class ConvBlock(nn.Module):
    """Convolution, normalisation, activation; or activation before normalisation."""

    def __init__(
        self,
        layers: Layers,
        inputs: int,
        outputs: int,
        kernel: Size,
        stride: Size,
        *,
        bias: bool | None = None,
        active: bool = True,
        drops: bool = True,
    ) -> None:
        super().__init__()
        about = layers.about
        self.conv = layers.conv(inputs, outputs, kernel, stride, bias=about.bias if bias is None else bias)
        norm, activation = layers.norm(outputs), layers.activation() if active else None
        self.dropout = layers.dropout() if active and drops else None
        if norm is not None:
            self.norm = norm
        if activation is not None:
            self.nonlin = activation
        order = [name for name, layer in (("norm", norm), ("nonlin", activation)) if layer is not None]
        self._order = tuple(reversed(order)) if about.activation_first else tuple(order)

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, C, ...) to (N, C', ...), whose sizes are divided by the stride."""
        result = self.conv(inputs)
        if self.dropout is not None and self.dropout.training:
            result = self.dropout(result)
        for name in self._order:
            result = getattr(self, name)(result)
        out: Tensor = result
        return out

    def drop_idle_bias(self) -> bool:
        """Remove a bias that the following normalisation cancels, because it subtracts the mean of each channel.

        Returns:
            Whether there was one.
        """
        norm = getattr(self, self._order[0], None) if self._order else None
        kinds = (nn.InstanceNorm2d, nn.InstanceNorm3d)
        if not isinstance(norm, kinds) or norm.track_running_stats or self.conv.bias is None:
            return False
        self.conv.register_parameter("bias", None)
        return True


class ConvBlocks(nn.Module):
    """Several blocks, the first with a stride."""

    def __init__(self, layers: Layers, count: int, inputs: int, outputs: int, kernel: Size, stride: Size) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            ConvBlock(layers, inputs, outputs, kernel, stride),
            *(ConvBlock(layers, outputs, outputs, kernel, layers.ones) for _ in range(count - 1)),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """All blocks in turn."""
        result: Tensor = self.convs(inputs)
        return result


class ResidualBlock(nn.Module):
    """Base of the residual blocks: a path is added to the input, which is pooled and projected as needed."""

    def __init__(self, layers: Layers, inputs: int, outputs: int, stride: Size) -> None:
        super().__init__()
        skip: list[nn.Module] = []
        if any(step != 1 for step in stride):
            skip.append(layers.pool(stride))
        if inputs != outputs:
            ones = layers.ones
            skip.append(ConvBlock(layers, inputs, outputs, ones, ones, bias=False, active=False))
        self.skip = nn.Sequential(*skip)
        self._activation = layers.activation() or nn.Identity()

    def path(self, inputs: Tensor) -> Tensor:
        """Compute what is added to the input."""
        raise NotImplementedError

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, C, ...) to (N, C', ...), whose sizes are divided by the stride."""
        result: Tensor = self._activation(self.path(inputs) + self.skip(inputs))
        return result


class BasicBlockD(ResidualBlock):
    """A residual block of two convolutions."""

    def __init__(self, layers: Layers, inputs: int, _: int, outputs: int, kernel: Size, stride: Size) -> None:
        super().__init__(layers, inputs, outputs, stride)
        self.conv1 = ConvBlock(layers, inputs, outputs, kernel, stride)
        self.conv2 = ConvBlock(layers, outputs, outputs, kernel, layers.ones, active=False)

    def path(self, inputs: Tensor) -> Tensor:
        """See `ResidualBlock.path`."""
        result: Tensor = self.conv2(self.conv1(inputs))
        return result


class BottleneckD(ResidualBlock):
    """A residual block with a convolution between two of kernel size 1, with its own number of channels."""

    def __init__(self, layers: Layers, inputs: int, inner: int, outputs: int, kernel: Size, stride: Size) -> None:
        super().__init__(layers, inputs, outputs, stride)
        ones = layers.ones
        self.conv1 = ConvBlock(layers, inputs, inner, ones, ones, drops=False)
        self.conv2 = ConvBlock(layers, inner, inner, kernel, stride)
        self.conv3 = ConvBlock(layers, inner, outputs, ones, ones, active=False)

    def path(self, inputs: Tensor) -> Tensor:
        """See `ResidualBlock.path`."""
        result: Tensor = self.conv3(self.conv2(self.conv1(inputs)))
        return result


class ResidualBlocks(nn.Module):
    """Several residual blocks, the first with a stride."""

    def __init__(
        self, layers: Layers, count: int, inputs: int, inner: int, outputs: int, kernel: Size, stride: Size
    ) -> None:
        super().__init__()
        kind = BottleneckD if layers.about.block == "BottleneckD" else BasicBlockD
        self.blocks = nn.Sequential(
            kind(layers, inputs, inner, outputs, kernel, stride),
            *(kind(layers, outputs, inner, outputs, kernel, layers.ones) for _ in range(count - 1)),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """All blocks in turn."""
        result: Tensor = self.blocks(inputs)
        return result
