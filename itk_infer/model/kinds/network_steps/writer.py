"""Writes the steps of a network down."""

from __future__ import annotations

from collections.abc import Sequence

from itk_infer.model.kinds.network_steps.step import Activation, Bias, Norm, Step

Size = Sequence[int]  # one number per axis


class StepWriter:
    """Collects steps; methods take and return numbers of results.

    Args:
        dimensions: Axes of the images, 2 or 3.
    """

    def __init__(self, dimensions: int) -> None:
        self.dimensions, self.ones = dimensions, (1,) * dimensions
        self.steps: list[Step] = []

    def add(self, step: Step) -> int:
        """Append a step; returns the number of its result."""
        self.steps.append(step)
        return len(self.steps)

    def conv(
        self,
        image: int,
        name: str,
        channels: tuple[int, int],
        kernel: Size,
        stride: Size | None = None,
        *,
        padding: Size | None = None,
        bias: Bias = "none",
        also: str = "",
    ) -> int:
        """A convolution.

        Args:
            image: What it takes.
            name: Name of its weights.
            channels: Of input and output.
            kernel: Its size.
            stride: None: 1.
            padding: None: (kernel - 1) // 2.
            bias: Whether it adds one.
            also: Second name of its weights.
        """
        padding = [(size - 1) // 2 for size in kernel] if padding is None else padding
        shape = (channels[1], channels[0], *kernel)
        stride = self.ones if stride is None else stride
        step = Step("conv", (image,), name, shape, tuple(stride), tuple(padding), bias=bias, also=also)
        return self.add(step)

    def transposed(
        self,
        image: int,
        name: str,
        channels: tuple[int, int],
        kernel: Size,
        stride: Size,
        *,
        padding: Size | None = None,
        extra: Size | None = None,
        bias: Bias = "none",
        also: str = "",
    ) -> int:
        """A transposed convolution; see `conv`, and `Step.extra`. Padding is 0 if none is given."""
        none = (0,) * self.dimensions
        padding, extra = padding or none, extra or none
        shape = (*channels, *kernel)
        return self.add(
            Step("transposed", (image,), name, shape, tuple(stride), tuple(padding), tuple(extra), bias, also=also)
        )

    def norm(self, image: int, name: str, channels: int, norm: Norm | None, also: str = "") -> int:
        """A normalisation; None: there is none."""
        if norm is None:
            return image
        return self.add(Step("norm", (image,), name, (channels,), norm=norm, also=also))

    def activation(
        self, image: int, activation: Activation | None, name: str = "", weights: int = 0, also: str = ""
    ) -> int:
        """An activation; None: there is none. `weights` is their number, for one that has any."""
        if activation is None:
            return image
        if activation.kind != "prelu":
            return self.add(Step("activation", (image,), activation=activation))
        return self.add(Step("activation", (image,), name, (weights,), activation=activation, also=also))

    def sum(self, image: int, other: int) -> int:
        """A sum of two images."""
        return self.add(Step("add", (image, other)))

    def join(self, image: int, other: int) -> int:
        """The channels of two images, for a convolution."""
        return self.add(Step("join", (image, other)))

    def unused(self, name: str, channels: tuple[int, int], kernel: Size, bias: Bias, also: str = "") -> None:
        """A convolution that has weights and is not run."""
        self.add(Step("unused", name=name, shape=(channels[1], channels[0], *kernel), bias=bias, also=also))
