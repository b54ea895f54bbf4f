"""The interface between explainers of networks and the drawing of their maps."""

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
        maps: Maps (N, h, w) by method, float64, not negative, of the size of the feature map or the input.
        logits: (N, K), the network's logits for the pictures.
    """

    maps: dict[str, Floats]
    logits: NDArray[np.floating] = field(repr=False)


class Explainer(Protocol):
    """Explains one logit per picture.

    Attributes:
        how: How maps are computed: ``closed form``, ``autograd``, ``occlusion``.
        layer: The feature map that Grad-CAM uses; empty if there is none.
        methods: The methods that it supports.
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
    """Check names of methods, and remove duplicates.

    Raises:
        ConfigError: there is none, or one is unknown.
    """
    unknown = [name for name in methods if name not in METHODS]
    if unknown or not methods:
        what = f"{', '.join(map(repr, unknown))} is not a method" if unknown else "no method is given"
        raise ConfigError(f"`saliency`: {what}; there are {', '.join(METHODS)}")
    return tuple(dict.fromkeys(methods))


def maps_of(
    methods: Sequence[str], features: Floats | None, gradient: Floats | None, input_grad: Floats | None
) -> dict[str, Floats]:
    """Compute maps by method from feature maps and gradients; see `maps`."""
    found = {}
    for method in methods:
        if method == "input_grad" and input_grad is not None:
            found[method] = input_gradient(input_grad)
        elif features is not None and gradient is not None:
            found[method] = (grad_cam if method == "gradcam" else grad_cam_plus)(features, gradient)
    return found
