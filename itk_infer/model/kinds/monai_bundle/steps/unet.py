"""MONAI's `UNet`."""

from __future__ import annotations

from typing import Any

from itk_infer.model.kinds.monai_bundle.steps.layers import (
    NotDescribed,
    check_dropout,
    read_activation,
    read_norm,
    size,
    switch,
    whole,
    wholes,
)
from itk_infer.model.kinds.network_steps.step import IMAGE, Bias, Step
from itk_infer.model.kinds.network_steps.writer import Size, StepWriter


def unet_steps(
    *,
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    channels: Any,
    strides: Any,
    kernel_size: Any = 3,
    up_kernel_size: Any = 3,
    num_res_units: Any = 0,
    act: Any = "PRELU",
    norm: Any = "INSTANCE",
    dropout: Any = 0.0,
    bias: Any = True,
    adn_ordering: Any = "NDA",
) -> tuple[Step, ...]:
    """The steps from the image to logits, with the arguments of the class.

    Raises:
        NotDescribed: an argument is not understood.
    """
    check_dropout(dropout)
    if num_res_units != 0:
        whole(num_res_units, "num_res_units")
    stages = wholes(channels, "channels")
    if not isinstance(strides, list | tuple) or not 2 <= len(stages) <= len(strides) + 1:
        raise NotDescribed(f"strides are {strides!r:.60} for {len(stages)} channels")
    kernels = [size(value, spatial_dims, "kernel_size") for value in (kernel_size, up_kernel_size)]
    if any(side % 2 == 0 for kernel in kernels for side in kernel):
        raise NotDescribed("a kernel has an even size")
    order = adn_ordering.upper() if isinstance(adn_ordering, str) else ""
    if not order or set(order) - set("ADN") or len(set(order)) < len(order):
        raise NotDescribed(f"adn_ordering is {adn_ordering!r:.60}")
    walk = _Walk(
        spatial_dims, num_res_units, kernels, order, act, norm, "used" if switch(bias, "bias") else "none"
    )
    steps = [size(stride, spatial_dims, "strides") for stride in strides]
    walk.stage(IMAGE, "model", in_channels, out_channels, stages, steps, top=True)
    return tuple(walk.steps)


class _Walk(StepWriter):
    """Writes the steps of one network down; names are those of MONAI's modules."""

    def __init__(
        self,
        dimensions: int,
        units: int,
        kernels: list[tuple[int, ...]],
        order: str,
        act: Any,
        norm: Any,
        bias: Bias,
    ) -> None:
        super().__init__(dimensions)
        self._units, self._order, self._act, self._norm_name, self._bias = units, order, act, norm, bias
        self._kernel, self._up_kernel = kernels

    def stage(
        self,
        image: int,
        name: str,
        before: int,
        after: int,
        channels: tuple[int, ...],
        strides: list[tuple[int, ...]],
        *,
        top: bool = False,
    ) -> int:
        """`_create_block`: a path down, the next stage beside a connection, and a path up."""
        own, below = channels[0], f"{name}.1.submodule"
        image = self._down(image, f"{name}.0", before, own, strides[0])
        if len(channels) > 2:
            inner, more = self.stage(image, below, own, own, channels[1:], strides[1:]), own
        else:
            inner, more = self._down(image, below, own, channels[1], self.ones), channels[1]
        joined = self.join(image, inner)
        ends, up = (own + more, after), f"{name}.2"
        if not self._units:
            return self._up(joined, up, ends, strides[0], bare=top)
        image = self._up(joined, f"{up}.0", ends, strides[0])
        return self._residual(image, f"{up}.1", after, after, self.ones, 1, bare_end=top)

    def _down(self, image: int, name: str, before: int, after: int, stride: Size) -> int:
        """`_get_down_layer`."""
        if self._units:
            return self._residual(image, name, before, after, stride, self._units)
        return self._block(image, name, (before, after), stride)

    def _residual(
        self, image: int, name: str, before: int, after: int, stride: Size, units: int, *, bare_end: bool = False
    ) -> int:
        """`ResidualUnit`."""
        path, given, first = image, before, stride
        for unit in range(units):
            bare = bare_end and unit == units - 1
            path = self._block(path, f"{name}.conv.unit{unit}", (given, after), first, bare=bare)
            given, first = after, self.ones
        strided = any(step != 1 for step in stride)
        if strided or before != after:
            kernel = self._kernel if strided else self.ones
            image = self.conv(image, f"{name}.residual", (before, after), kernel, stride, bias=self._bias)
        return self.sum(path, image)

    def _block(self, image: int, name: str, ends: tuple[int, int], stride: Size, *, bare: bool = False) -> int:
        """`Convolution`."""
        image = self.conv(image, f"{name}.conv", ends, self._kernel, stride, bias=self._bias)
        return image if bare else self._adn(image, f"{name}.adn", ends[1])

    def _up(self, image: int, name: str, ends: tuple[int, int], stride: Size, *, bare: bool = False) -> int:
        """`Convolution` with `is_transposed`."""
        padding, extra = [(side - 1) // 2 for side in self._up_kernel], [step - 1 for step in stride]
        image = self.transposed(
            image, f"{name}.conv", ends, self._up_kernel, stride, padding=padding, extra=extra, bias=self._bias
        )
        return image if bare else self._adn(image, f"{name}.adn", ends[1])

    def _adn(self, image: int, name: str, channels: int) -> int:
        """`ADN`."""
        for part in self._order:
            if part == "N":
                image = self.norm(image, f"{name}.N", channels, read_norm(self._norm_name, channels))
            elif part == "A":
                activation, weights = read_activation(self._act, channels)
                image = self.activation(image, activation, f"{name}.A", weights)
        return image
