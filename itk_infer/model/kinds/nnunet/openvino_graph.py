"""Build a model of OpenVINO from the steps of a network, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from itk_infer.model.kinds.nnunet.architecture import Architecture
from itk_infer.model.kinds.nnunet.graph import Step, norm_keeps
from itk_infer.model.kinds.nnunet.weights import Values
from itk_infer.model.runtimes.openvino import import_openvino


def openvino_graph(
    about: Architecture, steps: Sequence[Step], folds: Sequence[Mapping[str, Values]], shape: tuple[int, ...]
) -> Any:
    """An `openvino.Model` whose output is the mean of several folds' logits.

    Args:
        about: The network.
        steps: See `steps_of`.
        folds: Weights of each fold; the model shares their memory.
        shape: Shape of the input, (N, C, ...).
    """
    openvino = import_openvino()
    from openvino import opset13

    image = opset13.parameter(list(shape), np.float32)
    total = None
    for weights in folds:
        logits = _Builder(about, weights, opset13).run(steps, image)
        total = logits if total is None else opset13.add(total, logits)
    if len(folds) > 1:
        total = opset13.divide(total, np.float32(len(folds)))
    return openvino.Model([opset13.result(total)], [image])


@dataclass(frozen=True, slots=True)
class _Joined:
    """Two images whose channels the next convolution takes."""

    first: Any
    second: Any


class _Builder:
    """Adds the operations of one fold; operations are those that OpenVINO's own converter of torch makes."""

    def __init__(self, about: Architecture, weights: Mapping[str, Values], opset: Any) -> None:
        self._about, self._weights, self._opset = about, weights, opset
        self._axes = list(range(2, 2 + about.dimensions))

    def run(self, steps: Sequence[Step], image: Any) -> Any:
        results = [image]
        for step in steps:
            made = None if step.kind == "unused" else getattr(self, f"_{step.kind}")
            results.append(made and made(step, *(results[source] for source in step.sources)))
        return results[-1]

    def _conv(self, step: Step, image: Any) -> Any:
        weight = self._values(f"{step.name}.weight")
        if not isinstance(image, _Joined):
            return self._biased(step, self._convolution(step, image, weight))
        # The sum of two convolutions needs less memory than a copy of both images side by side, and no more time.
        if np.prod(image.first.get_output_shape(0)) < weight.size:
            joined = self._opset.concat([image.first, image.second], 1)
            return self._biased(step, self._convolution(step, joined, weight))
        channels = image.first.get_output_shape(0)[1]
        first = self._convolution(step, image.first, np.ascontiguousarray(weight[:, :channels]))
        second = self._convolution(step, image.second, np.ascontiguousarray(weight[:, channels:]))
        return self._biased(step, self._opset.add(first, second))

    def _convolution(self, step: Step, image: Any, weight: Values) -> Any:
        pads = [(kernel - 1) // 2 for kernel in step.shape[2:]]
        ones = [1] * len(pads)
        return self._opset.convolution(image, self._constant(weight), list(step.stride), pads, pads, ones)

    def _transposed(self, step: Step, image: Any) -> Any:
        none, stride, ones = [0] * len(self._axes), list(step.shape[2:]), [1] * len(self._axes)
        weight = self._constant(self._values(f"{step.name}.weight"))
        made = self._opset.convolution_backprop_data(
            image, weight, strides=stride, pads_begin=none, pads_end=none, dilations=ones
        )
        return self._biased(step, made)

    def _biased(self, step: Step, image: Any) -> Any:
        return self._opset.add(image, self._channels(f"{step.name}.bias")) if step.bias == "used" else image

    def _norm(self, step: Step, image: Any) -> Any:
        opset, eps = self._opset, float(self._about.norm_keywords.get("eps", 1e-5))
        affine, tracked = norm_keeps(self._about)
        if tracked:
            parts = ("weight", "bias", "running_mean", "running_var")
            usual = (np.ones, np.zeros, None, None)
            values = [
                self._constant(self._values(f"{step.name}.{part}"))
                if affine or make is None
                else make(step.shape, np.float32)
                for part, make in zip(parts, usual, strict=True)
            ]
            return opset.batch_norm_inference(image, *values, eps)
        image = opset.mvn(image, np.array(self._axes, np.int32), True, eps, "inside_sqrt")
        if affine:
            image = opset.multiply(image, self._channels(f"{step.name}.weight"))
            image = opset.add(image, self._channels(f"{step.name}.bias"))
        return image

    def _activation(self, _: Step, image: Any) -> Any:
        if self._about.activation == "ReLU":
            return self._opset.relu(image)
        slope = np.float32(self._about.activation_keywords.get("negative_slope", 0.01))
        return self._opset.prelu(image, slope)

    def _pool(self, step: Step, image: Any) -> Any:
        none, stride = [0] * len(self._axes), list(step.stride)
        return self._opset.avg_pool(image, stride, none, none, stride, False)

    def _add(self, _: Step, image: Any, other: Any) -> Any:
        return self._opset.add(image, other)

    def _join(self, _: Step, image: Any, other: Any) -> _Joined:
        return _Joined(image, other)

    def _channels(self, name: str) -> Any:
        """Values of channels, to be broadcast over an image."""
        return self._constant(self._values(name).reshape((1, -1, *(1 for _ in self._axes))))

    def _values(self, name: str) -> Values:
        return np.ascontiguousarray(self._weights[name], np.float32)

    def _constant(self, values: Values) -> Any:
        return self._opset.constant(values, shared_memory=True)
