"""MONAI's `SegResNet`."""

from __future__ import annotations

from typing import Any

from itk_infer.model.kinds.monai_bundle.steps.layers import (
    NotDescribed,
    check_dropout,
    read_activation,
    read_norm,
    switch,
    whole,
    wholes,
)
from itk_infer.model.kinds.network_steps.step import IMAGE, Step
from itk_infer.model.kinds.network_steps.writer import StepWriter


def segresnet_steps(
    *,
    spatial_dims: int = 3,
    init_filters: Any = 8,
    in_channels: int = 1,
    out_channels: int = 2,
    dropout_prob: Any = None,
    act: Any = ("RELU", {"inplace": True}),
    norm: Any = ("GROUP", {"num_groups": 8}),
    num_groups: Any = 8,
    use_conv_final: Any = True,
    blocks_down: Any = (1, 2, 2, 4),
    blocks_up: Any = (1, 1, 1),
    upsample_mode: Any = "nontrainable",
) -> tuple[Step, ...]:
    """The steps from the image to logits, with the arguments of the class; `num_groups` has no effect there.

    Raises:
        NotDescribed: an argument is not understood.
    """
    check_dropout(dropout_prob)
    whole(num_groups, "num_groups")
    down, up = wholes(blocks_down, "blocks_down"), wholes(blocks_up, "blocks_up")
    if len(up) != len(down) - 1:
        raise NotDescribed(f"it has {len(down)} stages down and {len(up)} up")
    if not switch(use_conv_final, "use_conv_final"):
        raise NotDescribed("it has no last convolution")
    if upsample_mode not in ("nontrainable", "deconv"):
        raise NotDescribed(f"upsample_mode is {upsample_mode!r:.60}")
    walk = _Walk(spatial_dims, act, norm, whole(init_filters, "init_filters"), learned=upsample_mode == "deconv")
    walk.decoder(walk.encoder(in_channels, down), up, out_channels)
    return tuple(walk.steps)


class _Walk(StepWriter):
    """Writes the steps of one network down; names are those of MONAI's modules."""

    def __init__(self, dimensions: int, act: Any, norm: Any, filters: int, *, learned: bool) -> None:
        super().__init__(dimensions)
        self._act, self._norm_name, self._filters, self._learned = act, norm, filters, learned
        self._three, self._two = (3,) * dimensions, (2,) * dimensions

    def encoder(self, inputs: int, blocks: tuple[int, ...]) -> list[int]:
        """Results of all stages, the finest first."""
        image, found = self.conv(IMAGE, "convInit.conv", (inputs, self._filters), self._three), []
        for stage, count in enumerate(blocks):
            own, name = self._filters * 2**stage, f"down_layers.{stage}"
            if stage:
                image = self.conv(image, f"{name}.0.conv", (own // 2, own), self._three, self._two)
            for number in range(1, count + 1):
                image = self._block(image, f"{name}.{number}", own)
            found.append(image)
        return found

    def decoder(self, skips: list[int], blocks: tuple[int, ...], outputs: int) -> int:
        """From the coarsest stage to logits."""
        image = skips.pop()
        for stage, count in enumerate(blocks):
            below = self._filters * 2 ** (len(blocks) - stage)
            image = self._upwards(image, f"up_samples.{stage}", below, below // 2)
            image = self.sum(image, skips.pop())
            for number in range(count):
                image = self._block(image, f"up_layers.{stage}.{number}", below // 2)
        image = self._normed(image, "conv_final.0", self._filters)
        image = self._active(image, "conv_final.1", self._filters, also="act_mod")
        return self.conv(image, "conv_final.2.conv", (self._filters, outputs), self.ones, bias="used")

    def _upwards(self, image: int, name: str, before: int, after: int) -> int:
        image = self.conv(image, f"{name}.0.conv", (before, after), self.ones)
        if self._learned:
            return self.transposed(image, f"{name}.1.deconv", (after, after), self._two, self._two, bias="used")
        return self.add(Step("resize", (image,), stride=self._two))

    def _block(self, image: int, name: str, channels: int) -> int:
        """`ResBlock`."""
        path = image
        for number in (1, 2):
            path = self._normed(path, f"{name}.norm{number}", channels)
            path = self._active(path, f"{name}.act", channels)
            path = self.conv(path, f"{name}.conv{number}.conv", (channels, channels), self._three)
        return self.sum(path, image)

    def _normed(self, image: int, name: str, channels: int) -> int:
        return self.norm(image, name, channels, read_norm(self._norm_name, channels))

    def _active(self, image: int, name: str, channels: int, also: str = "") -> int:
        activation, weights = read_activation(self._act, channels)
        return self.activation(image, activation, name, weights, also)
