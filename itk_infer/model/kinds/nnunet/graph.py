"""nnU-Net's two U-Nets as a list of steps, for libraries other than torch.

The same networks as in `networks` and `blocks`, in the same order and with the same parameter names: what is
changed there is changed here, too.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from itk_infer.model.kinds.nnunet.architecture import Architecture

Size = Sequence[int]
Kind = Literal["conv", "transposed", "norm", "activation", "pool", "add", "join", "unused"]
# Idle: the next step subtracts the mean of each channel, and so the bias.
Bias = Literal["used", "idle", "none"]
IMAGE = 0  # the network's input; the result of the first step is 1


@dataclass(frozen=True, slots=True)
class Step:
    """One operation on images (N, C, ...).

    Attributes:
        kind: A convolution, padded by (kernel - 1) // 2; a transposed one, whose stride is its kernel; the
            network's normalisation or activation; average pooling; a sum; channels of both; or a convolution that
            has weights and is not run.
        sources: Numbers of the results that it takes.
        name: Name of its weights, without the last part.
        shape: Shape of its weights in torch; of a normalisation, the number of channels.
        stride: Of a convolution or pooling.
        bias: Of a convolution.
    """

    kind: Kind
    sources: tuple[int, ...] = ()
    name: str = ""
    shape: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    bias: Bias = "none"


def has_graph(about: Architecture) -> bool:
    """Whether a network can be described so: all but those whose batch norm depends on the windows of a call."""
    return about.norm != "Batch" or norm_keeps(about)[1]


def steps_of(about: Architecture, inputs: int, outputs: int) -> tuple[Step, ...]:
    """The steps from the image to logits, the last result, of the finest stage."""
    walk = _Walk(about)
    plain = about.network == "PlainConvUNet"
    walk.decoder(walk.plain(inputs) if plain else walk.residual(inputs), outputs)
    return tuple(walk.steps)


def weights_of(steps: Sequence[Step], about: Architecture) -> dict[str, tuple[int, ...]]:
    """Shapes of all weights by their names in torch, those of `torch.nn.Module.state_dict`."""
    found: dict[str, tuple[int, ...]] = {}
    for step in steps:
        if step.kind in ("conv", "transposed", "unused"):
            found[f"{step.name}.weight"] = step.shape
            if step.bias != "none":
                found[f"{step.name}.bias"] = step.shape[1:2] if step.kind == "transposed" else step.shape[:1]
        elif step.kind == "norm":
            affine, tracked = norm_keeps(about)
            found |= {f"{step.name}.{part}": step.shape for part in ("weight", "bias") if affine}
            if tracked:
                found |= {f"{step.name}.running_{part}": step.shape for part in ("mean", "var")}
                found[f"{step.name}.num_batches_tracked"] = ()
    return found


def norm_keeps(about: Architecture) -> tuple[bool, bool]:
    """Whether the normalisation has weights, and whether it has statistics from training, which it then uses."""
    usual = about.norm == "Batch"  # torch's defaults
    keywords = about.norm_keywords
    return bool(keywords.get("affine", usual)), bool(keywords.get("track_running_stats", usual))


class _Walk:
    """Writes the steps of one network down; methods take and return numbers of results."""

    def __init__(self, about: Architecture) -> None:
        self._about, self._ones = about, (1,) * about.dimensions
        self.steps: list[Step] = []

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
        image = self._blocks(IMAGE, "encoder.stem", 1, inputs, about.stem, about.kernels[0], self._ones)
        channels = itertools.pairwise((about.stem, *about.features))
        for stage, ((before, after), count) in enumerate(zip(channels, about.encoder, strict=True)):
            for number in range(count):
                name = f"encoder.stages.{stage}.blocks.{number}"
                stride = self._ones if number else about.strides[stage]
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
            shape = (below, skip, *about.strides[-place - 1])
            image = self._add("transposed", image, name=f"decoder.transpconvs.{place}", shape=shape, bias=bias)
            image = self._add("join", image, skips.pop())
            kernel = about.kernels[-place - 2]
            image = self._blocks(image, f"decoder.stages.{place}", count, 2 * skip, skip, kernel, self._ones)
            head, shape = f"decoder.seg_layers.{place}", (outputs, skip, *self._ones)
            if place < len(about.decoder) - 1:
                self._add("unused", name=head, shape=shape, bias="used")
            else:
                image = self._add("conv", image, name=head, shape=shape, stride=self._ones, bias="used")
        return image

    def _blocks(
        self, image: int, name: str, count: int, before: int, after: int, kernel: Size, stride: Size
    ) -> int:
        """`blocks.ConvBlocks`."""
        image = self._block(image, f"{name}.convs.0", before, after, kernel, stride)
        for number in range(1, count):
            image = self._block(image, f"{name}.convs.{number}", after, after, kernel, self._ones)
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
        about = self._about
        order: list[Kind] = ["norm"] if about.norm is not None else []
        if active and about.activation is not None:
            order.insert(0 if about.activation_first else len(order), "activation")
        subtracts = order[:1] == ["norm"] and about.norm == "Instance" and not norm_keeps(about)[1]
        kept: Bias = "none" if not (about.bias if bias is None else bias) else "idle" if subtracts else "used"
        shape = (after, before, *kernel)
        image = self._add("conv", image, name=f"{name}.conv", shape=shape, stride=stride, bias=kept)
        for kind in order:
            norm = kind == "norm"
            image = self._add(kind, image, name=f"{name}.norm" if norm else "", shape=(after,) if norm else ())
        return image

    def _residual_block(self, image: int, name: str, stage: int, before: int, stride: Size) -> int:
        """`blocks.BasicBlockD` and `blocks.BottleneckD`."""
        about, ones = self._about, self._ones
        after, kernel, path = about.features[stage], about.kernels[stage], image
        if any(step != 1 for step in stride):
            image = self._add("pool", image, stride=stride)
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
        image = self._add("add", path, image)
        return image if about.activation is None else self._add("activation", image)

    def _add(
        self, kind: Kind, *sources: int, name: str = "", shape: Size = (), stride: Size = (), bias: Bias = "none"
    ) -> int:
        self.steps.append(Step(kind, sources, name, tuple(shape), tuple(stride), bias))
        return len(self.steps)
