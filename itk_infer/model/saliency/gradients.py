"""Saliency of torch networks by autograd: one backward pass per batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import InferenceError, ModelError
from itk_infer.model.inferer.out_of_memory import network_error
from itk_infer.model.saliency.explainer import Explanation, maps_of
from itk_infer.model.saliency.recorders import recorder_of

if TYPE_CHECKING:
    from torch import nn

NO_MAP: Final = "name a layer with `saliency_layer`, or use `saliency=occlusion`"


class Autograd:
    """Explains a torch network; see `Explainer`.

    Args:
        network: Takes (N, C, H, W), returns (N, K). Its mode and weights are not changed.
        size: Size C, H, W of a picture.
        layer: Name of the tensor that Grad-CAM uses, see `recorders`; None: the last map with rows and columns.
        probabilities: Whether the network's outputs are probabilities: then their log-odds are
            explained, because the gradient of a saturated sigmoid vanishes.
        device: Device of the network.
        threads: Threads on the CPU.

    Raises:
        ModelError: there is no layer of this name, or it has no rows and columns.
    """

    how: str = "autograd"

    def __init__(
        self,
        network: nn.Module,
        size: tuple[int, int, int],
        *,
        layer: str | None = None,
        probabilities: bool = False,
        device: str = "cpu",
        threads: int = 1,
    ) -> None:
        import torch

        self._threads = threads
        self._recorder, self._device, self._probabilities = recorder_of(network), device, probabilities
        self.methods: tuple[str, ...] = ("input_grad", "gradcam", "gradcampp")
        self.layer, self.why = "", ""
        with torch.no_grad():
            _, kept = self._recorder.run(torch.zeros((1, *size), device=device))
        shapes = {name: tuple(tensor.shape) for name, tensor in kept.items()}
        if layer is not None:
            self.layer = named_layer(shapes, layer)
            return
        found = last_map(shapes, (size[1], size[2]))
        if found in shapes:
            self.layer = found
        else:
            self.methods, self.why = ("input_grad",), f"{found}; {NO_MAP}"

    def explain(
        self, inputs: NDArray[np.float32], targets: NDArray[np.intp], methods: Sequence[str]
    ) -> Explanation:
        """See `Explainer.explain`."""
        import torch

        source = torch.from_numpy(np.require(inputs, np.float32, ["C", "W"])).to(self._device).requires_grad_()
        layer = self.layer if set(methods) - {"input_grad"} else ""
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            answer, kept = self._recorder.run(source, layer)
            answer = answer[0] if isinstance(answer, list | tuple) else answer
            logits = torch.logit(answer.double()) if self._probabilities else answer
            chosen = logits.flatten(1).gather(1, torch.from_numpy(targets).to(self._device)[:, None])
            features = kept.get(layer)
            wanted = [source] if features is None else [source, features]
            gradients = torch.autograd.grad(chosen.sum(), wanted, allow_unused=True)
        except Exception as error:  # a network may raise any error
            sentence = f"the network failed on {inputs.shape}: {type(error).__name__}: {error}".split("\n")[0]
            raise network_error(error, sentence) from error
        finally:
            torch.set_num_threads(before)
        if any(gradient is None for gradient in gradients):
            raise ModelError(f"the logits do not depend on {layer or 'the picture'} by gradients; {NO_MAP}")
        arrays = [
            None if tensor is None else tensor.detach().double().cpu().numpy() for tensor in (features, *gradients)
        ]
        if any(array is not None and not np.isfinite(array).all() for array in arrays):
            raise InferenceError("a gradient is not finite; a probability of 0 or 1 has no logit")
        activations, input_grad, gradient = arrays if len(arrays) == 3 else (*arrays, None)
        maps = maps_of(methods, activations, gradient, input_grad)
        return Explanation(maps, logits.detach().flatten(1).float().cpu().numpy())


def named_layer(shapes: Mapping[str, tuple[int, ...]], layer: str) -> str:
    """Check the requested layer and return its name.

    Raises:
        ModelError: there is no layer of this name, or it has no rows and columns.
    """
    if layer not in shapes:
        near = get_close_matches(layer, shapes, n=3, cutoff=0.3) or list(shapes)[-3:]
        raise ModelError(f"`saliency_layer={layer}`: the network has no such layer; there are {', '.join(near)}")
    if len(shapes[layer]) != 4:
        raise ModelError(f"`saliency_layer={layer}`: its shape is {shapes[layer]}; (N, C, H, W) is needed")
    return layer


def last_map(shapes: Mapping[str, tuple[int, ...]], size: tuple[int, int]) -> str:
    """Choose the layer that Grad-CAM uses: the last one with rows and columns.

    Args:
        shapes: Output shapes of all layers, in order of computation.
        size: Rows and columns of the picture.

    Returns:
        Its name, or a sentence that says why there is none: in a transformer, outputs are not computed from the
        last map.
    """
    later: list[tuple[int, ...]] = []
    for name, shape in reversed(list(shapes.items())):
        if len(shape) == 4 and shape[2] * shape[3] > 1:
            positions = shape[2] * shape[3]
            if any(len(s) == 3 and s[2] != positions and max(s[:2]) >= positions for s in later):
                return f"after its last map, {name}, the network works on tokens, as a transformer does"
            rows, columns = shape[2] / size[0], shape[3] / size[1]
            if max(rows, columns) > 1.5 * min(rows, columns) + 1 / min(size):
                return f"the axes of its last map, {name}, are {shape}, and not those of a picture of {size}"
            return name
        later.append(shape)
    return "the network has no map of rows and columns"
