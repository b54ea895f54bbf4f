"""One operation of a network that is written down as a list of steps, for libraries other than torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from numpy.typing import NDArray

Values: TypeAlias = NDArray[Any]  # of weights

Kind = Literal["conv", "transposed", "norm", "activation", "pool", "resize", "add", "join", "unused"]
# Idle: the next step subtracts the mean of each channel, and so the bias.
Bias = Literal["used", "idle", "none"]
ActivationKind = Literal["relu", "leakyrelu", "prelu", "elu", "relu6", "sigmoid", "tanh", "swish", "mish"]
IMAGE = 0  # the network's input; the result of the first step is 1


@dataclass(frozen=True, slots=True)
class Norm:
    """A normalisation.

    Attributes:
        kind: ``batch`` always has statistics from training.
        affine: Whether it has weights.
        tracked: Whether it has statistics from training, which it then uses.
        eps: Added to the variance.
        groups: Of a group normalisation.
    """

    kind: Literal["instance", "batch", "group"]
    affine: bool
    tracked: bool = False
    eps: float = 1e-5
    groups: int = 0


@dataclass(frozen=True, slots=True)
class Activation:
    """An activation.

    Attributes:
        kind: Its formula, that of the class in torch or MONAI.
        value: Slope of ``leakyrelu``, alpha of ``elu``, factor in the sigmoid of ``swish``.
    """

    kind: ActivationKind
    value: float = 1.0


INSTANCE, RELU = Norm("instance", affine=False), Activation("relu")


@dataclass(frozen=True, slots=True)
class Step:
    """One operation on images (N, C, ...).

    Attributes:
        kind: A convolution; a transposed one; a normalisation or activation; average pooling; linear interpolation
            to a multiple of the size, as by torch without `align_corners`; a sum; channels of both images; or a
            convolution that has weights and is not run.
        sources: Numbers of the results that it takes. Results of a join go to convolutions only.
        name: Name of its weights, without the last part.
        shape: Shape of its weights in torch; of a normalisation, the number of channels; of an activation with
            weights, their number.
        stride: Of a convolution or pooling; of an interpolation, the factor.
        padding: Zeros on either side, of a convolution; of a transposed one, what is cut off.
        extra: Of a transposed convolution, what is added behind (`output_padding`).
        bias: Of a convolution.
        norm: Which normalisation, of a step that is one.
        activation: Which activation, likewise.
        also: Second name of the same weights, without the last part.
    """

    kind: Kind
    sources: tuple[int, ...] = ()
    name: str = ""
    shape: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    extra: tuple[int, ...] = ()
    bias: Bias = "none"
    norm: Norm = INSTANCE
    activation: Activation = RELU
    also: str = ""


def weights_of(steps: Sequence[Step]) -> dict[str, tuple[int, ...]]:
    """Shapes of all weights by their names in torch, those of `torch.nn.Module.state_dict`."""
    found: dict[str, tuple[int, ...]] = {}
    for step in steps:
        for name in filter(None, (step.name, step.also)):
            found |= {f"{name}.{part}": shape for part, shape in _own(step).items()}
    return found


def _own(step: Step) -> dict[str, tuple[int, ...]]:
    """Shapes of a step's weights, by the last part of their names."""
    if step.kind == "norm":
        found = dict.fromkeys(("weight", "bias"), step.shape) if step.norm.affine else {}
        if step.norm.tracked:
            found |= {"running_mean": step.shape, "running_var": step.shape, "num_batches_tracked": ()}
        return found
    found = {"weight": step.shape}
    if step.bias != "none":
        found["bias"] = step.shape[1:2] if step.kind == "transposed" else step.shape[:1]
    return found
