"""The seam between what explains a network and what draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import ConfigError
from itk_infer.model.saliency.maps import METHODS, Floats, grad_cam, grad_cam_plus, input_gradient


@dataclass(frozen=True, slots=True)
class Explanation:
    """The maps of one network for a batch of pictures.

    Attributes:
        maps: By method, (N, h, w) float64, not negative: of the feature map's size, or of the input's.
        logits: (N, K) of the network that made them.
    """

    maps: dict[str, Floats]
    logits: NDArray[np.floating] = field(repr=False)


class Explainer(Protocol):
    """Explains one logit per picture.

    Attributes:
        how: How gradients are had, in words: ``closed form``, ``autograd``, ``occlusion``.
        layer: The tensor whose map Grad-CAM weighs; empty where there is none.
        methods: Those that it can compute.
    """

    how: str
    layer: str
    methods: tuple[str, ...]

    def explain(
        self, inputs: NDArray[np.float32], targets: NDArray[np.intp], methods: Sequence[str]
    ) -> Explanation:
        """Explain one logit per picture.

        Args:
            inputs: (N, C, H, W), as the network takes them.
            targets: (N,), the output channel whose logit is explained.
            methods: Some of `methods`.

        Raises:
            InferenceError: the network failed, or a gradient is not finite.
        """
        ...


def check_methods(methods: Sequence[str]) -> tuple[str, ...]:
    """Names of methods, each once.

    Raises:
        ConfigError: there is none, or one is unknown.
    """
    unknown = [name for name in methods if name not in METHODS]
    if unknown or not methods:
        named = ", ".join(map(repr, unknown)) or "nothing"
        raise ConfigError(f"`saliency`: {named} is no method; there are {', '.join(METHODS)}")
    return tuple(dict.fromkeys(methods))


def maps_of(
    methods: Sequence[str], features: Floats | None, gradient: Floats | None, input_grad: Floats | None
) -> dict[str, Floats]:
    """Maps by method, of what a pass through the network gave; see `maps`."""
    found = {}
    for method in methods:
        if method == "input_grad" and input_grad is not None:
            found[method] = input_gradient(input_grad)
        elif features is not None and gradient is not None:
            found[method] = (grad_cam if method == "gradcam" else grad_cam_plus)(features, gradient)
    return found
