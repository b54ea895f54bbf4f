"""MONAI's `DynUNet`."""

from __future__ import annotations

from typing import Any

from itk_infer.model.kinds.monai_bundle.steps.layers import (
    NotDescribed,
    check_dropout,
    read_activation,
    read_norm,
    sizes,
    switch,
    whole,
    wholes,
)
from itk_infer.model.kinds.network_steps.step import IMAGE, Step
from itk_infer.model.kinds.network_steps.writer import Size, StepWriter


def dynunet_steps(
    *,
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    kernel_size: Any,
    strides: Any,
    upsample_kernel_size: Any,
    filters: Any = None,
    dropout: Any = None,
    norm_name: Any = ("INSTANCE", {"affine": True}),
    act_name: Any = ("leakyrelu", {"inplace": True, "negative_slope": 0.01}),
    deep_supervision: Any = False,
    deep_supr_num: Any = 1,
    res_block: Any = False,
    trans_bias: Any = False,
) -> tuple[Step, ...]:
    """The steps from the image to logits, with the arguments of the class.

    Raises:
        NotDescribed: an argument is not understood.
    """
    check_dropout(dropout)
    kernels = sizes(kernel_size, spatial_dims, "kernel_size")
    steps = sizes(strides, spatial_dims, "strides")
    ups = sizes(upsample_kernel_size, spatial_dims, "upsample_kernel_size")
    if len(kernels) < 3 or len(steps) != len(kernels) or len(ups) != len(kernels) - 1:
        raise NotDescribed(f"it has {len(kernels)} kernels, {len(steps)} strides and {len(ups)} kernels upwards")
    most = 320 if spatial_dims == 3 else 512
    usual = tuple(min(2 ** (5 + stage), most) for stage in range(len(steps)))
    channels = usual if filters is None else wholes(filters, "filters")
    if len(channels) < len(steps):
        raise NotDescribed(f"it has {len(channels)} filters for {len(steps)} stages")
    heads = whole(deep_supr_num, "deep_supr_num") if switch(deep_supervision, "deep_supervision") else 0
    if heads >= len(ups):
        raise NotDescribed(f"deep_supr_num is {heads} with {len(ups)} stages upwards")
    walk = _Walk(spatial_dims, norm_name, act_name, residual=switch(res_block, "res_block"))
    biased = switch(trans_bias, "trans_bias")
    image = walk.network(in_channels, channels[: len(steps)], kernels, steps, ups, biased=biased)
    for head in range(1, heads + 1):
        name, also = f"{_level(head)}.super_head.conv.conv", f"deep_supervision_heads.{head - 1}.conv.conv"
        walk.unused(name, (channels[head], out_channels), walk.ones, "used", also)
    walk.conv(image, "output_block.conv.conv", (channels[0], out_channels), walk.ones, bias="used")
    return tuple(walk.steps)


def _level(number: int) -> str:
    """Name of a stage within `skip_layers`, which has all blocks a second time.

    `torch.nn.Module.load_state_dict` reads it last, so that its weights are those that are used.
    """
    return "skip_layers" + ".next_layer" * number


class _Walk(StepWriter):
    """Writes the steps of one network down; names are those of MONAI's modules."""

    def __init__(self, dimensions: int, norm: Any, act: Any, *, residual: bool) -> None:
        super().__init__(dimensions)
        self._norm_name, self._act, self._residual = norm, act, residual

    def network(
        self,
        inputs: int,
        channels: tuple[int, ...],
        kernels: tuple[tuple[int, ...], ...],
        strides: tuple[tuple[int, ...], ...],
        ups: tuple[tuple[int, ...], ...],
        *,
        biased: bool,
    ) -> int:
        """All but the last convolution."""
        image, skips, deepest = IMAGE, [], len(channels) - 1
        for stage, (kernel, stride) in enumerate(zip(kernels, strides, strict=True)):
            names = (f"{_level(stage)}.downsample", f"downsamples.{stage - 1}" if stage else "input_block")
            if stage == deepest:
                names = (_level(stage), "bottleneck")
            before = channels[stage - 1] if stage else inputs
            image = self._block(image, names, (before, channels[stage]), kernel, stride, residual=self._residual)
            skips.append(image)
        image = skips.pop()
        for stage in reversed(range(deepest)):
            own, up = channels[stage], ups[stage]
            names = (f"{_level(stage)}.upsample", f"upsamples.{deepest - 1 - stage}")
            conv, also = (f"{name}.transp_conv.conv" for name in names)
            bias: Any = "used" if biased else "none"
            image = self.transposed(image, conv, (channels[stage + 1], own), up, up, bias=bias, also=also)
            image = self.join(image, skips.pop())
            blocks = (f"{names[0]}.conv_block", f"{names[1]}.conv_block")
            image = self._block(image, blocks, (2 * own, own), kernels[stage + 1], self.ones, residual=False)
        return image

    def _block(
        self,
        image: int,
        names: tuple[str, str],
        ends: tuple[int, int],
        kernel: Size,
        stride: Size,
        *,
        residual: bool,
    ) -> int:
        """`UnetBasicBlock` and `UnetResBlock`; `names` are both names of the block."""
        before, after = ends
        path = self._conv(image, names, 1, ends, kernel, stride)
        path = self._active(self._normed(path, names, 1, after), names, after)
        path = self._conv(path, names, 2, (after, after), kernel, self.ones)
        path = self._normed(path, names, 2, after)
        if residual:
            if before != after or any(step != 1 for step in stride):
                image = self._conv(image, names, 3, ends, self.ones, stride)
                image = self._normed(image, names, 3, after)
            path = self.sum(path, image)
        return self._active(path, names, after)

    def _conv(
        self, image: int, names: tuple[str, str], number: int, ends: tuple[int, int], kernel: Size, stride: Size
    ) -> int:
        """`get_conv_layer`, with its padding."""
        padding = [(side - step + 1) // 2 for side, step in zip(kernel, stride, strict=True)]
        if any(side - step + 1 < 0 for side, step in zip(kernel, stride, strict=True)):
            raise NotDescribed(f"a kernel of {kernel} has a stride of {stride}")
        conv, also = (f"{name}.conv{number}.conv" for name in names)
        return self.conv(image, conv, ends, kernel, stride, padding=padding, also=also)

    def _normed(self, image: int, names: tuple[str, str], number: int, channels: int) -> int:
        name, also = (f"{each}.norm{number}" for each in names)
        return self.norm(image, name, channels, read_norm(self._norm_name, channels), also)

    def _active(self, image: int, names: tuple[str, str], channels: int) -> int:
        activation, weights = read_activation(self._act, channels)
        return self.activation(image, activation, f"{names[0]}.lrelu", weights, f"{names[1]}.lrelu")
