"""nnU-Net's two U-Nets as a list of steps, for libraries other than torch.

The same networks as in `networks` and `blocks`, in the same order and with the same parameter names: what is
changed there is changed here, too.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from itk_infer.model.kinds.network_steps.step import IMAGE, Activation, Bias, Norm, Step
from itk_infer.model.kinds.network_steps.writer import StepWriter
from itk_infer.model.kinds.nnunet.architecture import Architecture

Size = Sequence[int]


def has_graph(about: Architecture) -> bool:
    """Whether a network can be described so: all but those whose batch norm depends on the windows of a call."""
    norm = norm_of(about)
    return norm is None or norm.kind != "batch" or norm.tracked


def steps_of(about: Architecture, inputs: int, outputs: int) -> tuple[Step, ...]:
    """The steps from the image to logits, the last result, of the finest stage."""
    walk = _Walk(about)
    plain = about.network == "PlainConvUNet"
    walk.decoder(walk.plain(inputs) if plain else walk.residual(inputs), outputs)
    return tuple(walk.steps)


def norm_of(about: Architecture) -> Norm | None:
    """The normalisation, with torch's defaults."""
    if about.norm is None:
        return None
    usual, keywords = about.norm == "Batch", about.norm_keywords
    affine, tracked = (bool(keywords.get(key, usual)) for key in ("affine", "track_running_stats"))
    return Norm("batch" if usual else "instance", affine, tracked, float(keywords.get("eps", 1e-5)))


def activation_of(about: Architecture) -> Activation | None:
    """The activation, with torch's default."""
    if about.activation is None:
        return None
    if about.activation == "ReLU":
        return Activation("relu")
    return Activation("leakyrelu", float(about.activation_keywords.get("negative_slope", 0.01)))


class _Walk(StepWriter):
    """Writes the steps of one network down; methods take and return numbers of results."""

    def __init__(self, about: Architecture) -> None:
        super().__init__(about.dimensions)
        self._about = about
        self._norm, self._activation = norm_of(about), activation_of(about)

    def plain(self, inputs: int) -> list[int]:
        """`networks.PlainEncoder`: results of all stages, the finest first."""
        about, image, skips = self._about, IMAGE, []
        channels = itertools.pairwise((inputs, *about.features))
        for stage, (ends, count) in enumerate(zip(channels, about.encoder, strict=True)):
            kernel, stride = about.kernels[stage], about.strides[stage]
            image = self._blocks(image, f"encoder.stages.{stage}.0", count, *ends, kernel, stride)
            skips.append(image)
        return skips

    def residual(self, inputs: int) -> list[int]:
        """`networks.ResidualEncoder`: results of all stages, the finest first."""
        about, skips = self._about, []
        image = self._blocks(IMAGE, "encoder.stem", 1, inputs, about.stem, about.kernels[0], self.ones)
        channels = itertools.pairwise((about.stem, *about.features))
        for stage, ((before, after), count) in enumerate(zip(channels, about.encoder, strict=True)):
            for number in range(count):
                name = f"encoder.stages.{stage}.blocks.{number}"
                stride = self.ones if number else about.strides[stage]
                image = self._residual_block(image, name, stage, after if number else before, stride)
            skips.append(image)
        return skips

    def decoder(self, skips: list[int], outputs: int) -> int:
        """`networks.Decoder`."""
        about = self._about
        image = skips.pop()
        bias: Bias = "used" if about.bias else "none"
        for place, count in enumerate(about.decoder):
            below, skip = about.features[-place - 1], about.features[-place - 2]
            stride = about.strides[-place - 1]
            name = f"decoder.transpconvs.{place}"
            image = self.transposed(image, name, (below, skip), stride, stride, bias=bias)
            image = self.join(image, skips.pop())
            kernel = about.kernels[-place - 2]
            image = self._blocks(image, f"decoder.stages.{place}", count, 2 * skip, skip, kernel, self.ones)
            head, ends = f"decoder.seg_layers.{place}", (skip, outputs)
            if place < len(about.decoder) - 1:
                self.unused(head, ends, self.ones, "used")
            else:
                image = self.conv(image, head, ends, self.ones, bias="used")
        return image

    def _blocks(
        self, image: int, name: str, count: int, before: int, after: int, kernel: Size, stride: Size
    ) -> int:
        """`blocks.ConvBlocks`."""
        image = self._block(image, f"{name}.convs.0", before, after, kernel, stride)
        for number in range(1, count):
            image = self._block(image, f"{name}.convs.{number}", after, after, kernel, self.ones)
        return image

    def _block(
        self,
        image: int,
        name: str,
        before: int,
        after: int,
        kernel: Size,
        stride: Size,
        *,
        bias: bool | None = None,
        active: bool = True,
    ) -> int:
        """`blocks.ConvBlock`."""
        about, norm = self._about, self._norm
        order = ["norm"] if norm is not None else []
        if active and self._activation is not None:
            order.insert(0 if about.activation_first else len(order), "activation")
        subtracts = order[:1] == ["norm"] and norm is not None and norm.kind == "instance" and not norm.tracked
        kept: Bias = "none" if not (about.bias if bias is None else bias) else "idle" if subtracts else "used"
        image = self.conv(image, f"{name}.conv", (before, after), kernel, stride, bias=kept)
        for kind in order:
            if kind == "norm":
                image = self.norm(image, f"{name}.norm", after, norm)
            else:
                image = self.activation(image, self._activation)
        return image

    def _residual_block(self, image: int, name: str, stage: int, before: int, stride: Size) -> int:
        """`blocks.BasicBlockD` and `blocks.BottleneckD`."""
        about, ones = self._about, self.ones
        after, kernel, path = about.features[stage], about.kernels[stage], image
        if any(step != 1 for step in stride):
            image = self.add(Step("pool", (image,), stride=tuple(stride)))
        if before != after:
            place = 0 if image == path else 1  # in a sequence, after the pooling
            skip = f"{name}.skip.{place}"
            image = self._block(image, skip, before, after, ones, ones, bias=False, active=False)
        if about.block == "BottleneckD":
            inner = about.bottleneck[stage]
            path = self._block(path, f"{name}.conv1", before, inner, ones, ones)
            path = self._block(path, f"{name}.conv2", inner, inner, kernel, stride)
            path = self._block(path, f"{name}.conv3", inner, after, ones, ones, active=False)
        else:
            path = self._block(path, f"{name}.conv1", before, after, kernel, stride)
            path = self._block(path, f"{name}.conv2", after, after, kernel, ones, active=False)
        return self.activation(self.sum(path, image), self._activation)
