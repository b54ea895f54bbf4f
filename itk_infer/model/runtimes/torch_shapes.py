"""Find the shape of a torch network's input and output from its layers, before a window runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from itk_infer.spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor, nn


def is_2d(network: nn.Module) -> bool:
    """Whether the first convolution is 2D; for a program without layers, whether its first kernel is."""
    from torch import nn

    kinds = (nn.Conv2d, nn.Conv3d)
    first = next((module for module in network.modules() if isinstance(module, kinds)), None)
    if first is None:
        kernel = next((weight for weight in network.parameters() if weight.ndim in (4, 5)), None)
        return kernel is not None and kernel.ndim == 4
    return isinstance(first, nn.Conv2d)


def channels_in(network: nn.Module) -> int | None:
    """Input channels of the first layer, if that is a plain convolution."""
    from torch import nn

    leaves = (module for module in network.modules() if next(module.children(), None) is None)
    first = next((leaf for leaf in leaves if next(leaf.parameters(), None) is not None), None)
    if isinstance(first, nn.Conv2d | nn.Conv3d) and first.groups == 1:
        return first.in_channels
    return None


def channels_out(
    network: nn.Module, infer: Callable[[Tensor], Tensor], spec: ModelSpec, *, flat: bool
) -> int | None:
    """Find the output channels, from which memory is planned; None if the network does not run on fake tensors.

    A forward pass with fake tensors computes shapes, but no values, and needs no memory.

    Args:
        network: The network that `infer` calls.
        infer: Takes (N, C, Z, Y, X), returns logits.
        spec: The model spec, whose window size is used.
        flat: Whether the network takes single planes.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    rule = spec.window
    size = [p or -(-64 // m) * m for p, m in zip(rule.patch_size or (0, 0, 0), rule.multiple_of, strict=True)]
    if flat:
        size[0] = 1
    channels = channels_in(network) or len(spec.input.channels)
    device = next((weight.device for weight in network.parameters()), None)
    try:
        # Weights are not replaced by fake ones: torch.func.functional_call confuses those that modules share.
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            return int(infer(torch.empty((1, channels, *size), device=device)).shape[1])
    except Exception:  # any error of foreign code; the first window raises it again
        return None


def is_script(network: nn.Module) -> bool:
    """Whether a network is a TorchScript program."""
    import torch

    return isinstance(network, torch.jit.ScriptModule)


def traceable(infer: Callable[[Tensor], Tensor]) -> nn.Module:
    """Wrap a function in a module, as tracers need it."""
    from torch import nn

    class Traceable(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return infer(inputs)

    return Traceable().eval()


def registered(network: nn.Module, infer: Callable[[Tensor], Tensor]) -> nn.Module:
    """Wrap a function that calls a network in a module with the network's weights, whose names exporters use."""
    from torch import nn

    class Registered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: Tensor) -> Tensor:
            return infer(image)

    return Registered().eval()
