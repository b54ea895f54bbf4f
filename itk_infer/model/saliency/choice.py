"""Choose the explainer of a network from its kind and the methods asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import ModelError
from itk_infer.model.saliency.closed_form import ClosedForm
from itk_infer.model.saliency.converted import HOW, converted
from itk_infer.model.saliency.explainer import Explainer, Explanation, check_methods
from itk_infer.model.saliency.gradients import Autograd
from itk_infer.model.saliency.occlusion import Occlusion

if TYPE_CHECKING:
    from torch import nn

OCCLUSION: Final = "`saliency=occlusion` explains any network, with 196 calls per picture"


class Together:
    """Several explainers of one network, each for some methods; see `Explainer`."""

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
    size: tuple[int, int, int],
    batch: int = 1,
    layer: str | None = None,
    probabilities: bool = False,
    device: str = "cpu",
    threads: int = 1,
) -> Explainer:
    """Make the explainer of a loaded network.

    Args:
        methods: Names in `maps.METHODS`.
        forward: Runs the network: (N, C, H, W) to (N, K), logits or else probabilities; for occlusion.
        onnx: The file of an ONNX network.
        network: A torch network.
        size: Size C, H, W of its input.
        batch: Pictures per call that an ONNX network takes.
        layer: Name of the tensor that Grad-CAM uses; None: the last feature map with rows and columns.
        probabilities: Whether the torch network's outputs are probabilities.
        device: Device of the torch network.
        threads: Threads on the CPU.

    Raises:
        ConfigError: a method is unknown.
        ModelError: a method cannot explain this network.
    """
    asked = check_methods(methods)
    wanted = tuple(name for name in asked if name != "occlusion")
    parts: list[tuple[Explainer, tuple[str, ...]]] = []
    if wanted:
        if network is None:
            explainer = _of_onnx(wanted, forward, onnx, (batch, *size), layer, threads)
        else:
            explainer = Autograd(
                network, size, layer=layer, probabilities=probabilities, device=device, threads=threads
            )
            _check(explainer, wanted)
        parts.append((explainer, wanted))
    if "occlusion" in asked:
        parts.append((Occlusion(forward), ("occlusion",)))
    return parts[0][0] if len(parts) == 1 else Together(parts)


def _of_onnx(
    wanted: tuple[str, ...],
    forward: Callable[[NDArray[np.float32]], NDArray[np.floating]],
    onnx: Path | None,
    shape: tuple[int, int, int, int],
    layer: str | None,
    threads: int,
) -> Explainer:
    """The closed form if it exists and has the methods, else gradients of a converted network."""
    if onnx is None:
        raise ModelError(f"`saliency={wanted[0]}` needs an ONNX or a torch network; {OCCLUSION}")
    reason = f"{onnx}: `saliency=input_grad` needs gradients"
    if "input_grad" not in wanted:
        try:
            explainer = ClosedForm(onnx, layer=layer, threads=threads)
            noise = np.random.default_rng(0).normal(size=shape).astype(np.float32)
            explainer.explain(noise, np.zeros(len(noise), np.intp), wanted)
        except ModelError as error:
            if layer is not None and "`saliency_layer" in str(error):
                raise
            reason = str(error)
        else:
            return explainer
    try:
        autograd = Autograd(converted(onnx, forward, shape[1:]), shape[1:], layer=layer, threads=threads)
        _check(autograd, wanted)
    except ModelError as error:
        raise ModelError(f"{reason}; {str(error).removeprefix(f'{onnx}: ')}; {OCCLUSION}") from error
    autograd.how = HOW
    return autograd


def _check(explainer: Autograd, wanted: tuple[str, ...]) -> None:
    if not set(wanted) <= set(explainer.methods):
        raise ModelError(f"Grad-CAM has nothing to explain: {explainer.why}")
