"""Which explainer a network gets, by what it is and by the methods that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import ModelError
from itk_infer.model.saliency.closed_form import ClosedForm
from itk_infer.model.saliency.explainer import Explainer, Explanation, check_methods
from itk_infer.model.saliency.gradients import Autograd
from itk_infer.model.saliency.occlusion import Occlusion

if TYPE_CHECKING:
    from torch import nn


class Together:
    """Several explainers of one network, each for its methods; see `Explainer`."""

    def __init__(self, parts: Sequence[tuple[Explainer, tuple[str, ...]]]) -> None:
        self._parts = parts
        self.how = " and ".join(explainer.how for explainer, _ in parts)
        self.layer = next((explainer.layer for explainer, _ in parts if explainer.layer), "")
        self.methods = tuple(name for _, methods in parts for name in methods)

    def explain(
        self, inputs: NDArray[np.float32], targets: NDArray[np.intp], methods: Sequence[str]
    ) -> Explanation:
        """See `Explainer.explain`."""
        found = [
            explainer.explain(inputs, targets, wanted)
            for explainer, known in self._parts
            if (wanted := [name for name in known if name in methods])
        ]
        return Explanation({name: maps for part in found for name, maps in part.maps.items()}, found[0].logits)


def explainer_for(
    methods: Sequence[str],
    forward: Callable[[NDArray[np.float32]], NDArray[np.floating]],
    *,
    onnx: Path | None = None,
    network: nn.Module | None = None,
    size: tuple[int, int, int] = (1, 1, 1),
    layer: str | None = None,
    probabilities: bool = False,
    device: str = "cpu",
    threads: int = 1,
) -> Explainer:
    """The explainer of a loaded network.

    Args:
        methods: Names of `maps.METHODS`.
        forward: Runs the network: (N, C, H, W) to (N, K), logits if there are any; for occlusion.
        onnx: Its file, if it is one of ONNX.
        network: The torch network, if it is one.
        size: C, H, W of its input; of torch networks only.
        layer: Name of the tensor that Grad-CAM explains; None: the last map of rows and columns.
        probabilities: Whether the torch network answers with probabilities.
        device: Where the torch network is.
        threads: Threads of onnxruntime.

    Raises:
        ConfigError: a method is unknown.
        ModelError: a method cannot explain this network.
    """
    asked = check_methods(methods)
    wanted = tuple(name for name in asked if name != "occlusion")
    parts: list[tuple[Explainer, tuple[str, ...]]] = []
    if wanted and network is not None:
        autograd = Autograd(network, size, layer=layer, probabilities=probabilities, device=device)
        if not set(wanted) <= set(autograd.methods):
            raise ModelError(f"Grad-CAM has nothing to explain: {autograd.why}")
        parts.append((autograd, wanted))
    elif wanted:
        if "input_grad" in wanted or onnx is None:
            name, cam = ("", "") if onnx is None else (f"{onnx}: ", "`saliency=gradcam` or ")
            raise ModelError(
                f"{name}`saliency={wanted[0]}` needs gradients, which only torch networks have; give the network "
                f"as TorchScript or .pt2, or use {cam}`saliency=occlusion`, which takes 196 calls per picture"
            )
        parts.append((ClosedForm(onnx, layer=layer, threads=threads), wanted))
    if "occlusion" in asked:
        parts.append((Occlusion(forward), ("occlusion",)))
    return parts[0][0] if len(parts) == 1 else Together(parts)
