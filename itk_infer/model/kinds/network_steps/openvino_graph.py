"""Build a model of OpenVINO from the steps of a network, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from itk_infer.model.kinds.network_steps.step import Norm, Step, Values
from itk_infer.model.runtimes.openvino import import_openvino


def openvino_graph(steps: Sequence[Step], folds: Sequence[Mapping[str, Values]], shape: tuple[int, ...]) -> Any:
    """An `openvino.Model` whose output is the mean of several folds' logits.

    Args:
        steps: The network.
        folds: Weights of each fold; the model shares their memory.
        shape: Shape of the input, (N, C, ...).
    """
    openvino = import_openvino()
    from openvino import opset13

    image = opset13.parameter(list(shape), np.float32)
    total = None
    for weights in folds:
        logits = _Builder(len(shape) - 2, weights, opset13).run(steps, image)
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

    def __init__(self, dimensions: int, weights: Mapping[str, Values], opset: Any) -> None:
        self._weights, self._opset = weights, opset
        self._axes = list(range(2, 2 + dimensions))

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
            return self._biased(step, self._convolution(step, self._concatenated(image), weight))
        channels = image.first.get_output_shape(0)[1]
        first = self._convolution(step, image.first, np.ascontiguousarray(weight[:, :channels]))
        second = self._convolution(step, image.second, np.ascontiguousarray(weight[:, channels:]))
        return self._biased(step, self._opset.add(first, second))

    def _convolution(self, step: Step, image: Any, weight: Values) -> Any:
        pads, ones = list(step.padding), [1] * len(self._axes)
        return self._opset.convolution(image, self._constant(weight), list(step.stride), pads, pads, ones)

    def _transposed(self, step: Step, image: Any) -> Any:
        image = self._concatenated(image) if isinstance(image, _Joined) else image
        pads, ones = list(step.padding), [1] * len(self._axes)
        weight = self._constant(self._values(f"{step.name}.weight"))
        made = self._opset.convolution_backprop_data(
            image,
            weight,
            strides=list(step.stride),
            pads_begin=pads,
            pads_end=pads,
            dilations=ones,
            output_padding=list(step.extra),
        )
        return self._biased(step, made)

    def _concatenated(self, image: _Joined) -> Any:
        return self._opset.concat([image.first, image.second], 1)

    def _biased(self, step: Step, image: Any) -> Any:
        return self._opset.add(image, self._channels(f"{step.name}.bias")) if step.bias == "used" else image

    def _norm(self, step: Step, image: Any) -> Any:
        opset, norm = self._opset, step.norm
        if norm.tracked:
            parts = ("weight", "bias", "running_mean", "running_var")
            values = [self._of_norm(step, norm, part) for part in parts]
            return opset.batch_norm_inference(image, *values, norm.eps)
        if norm.kind == "group":
            values = [self._of_norm(step, norm, part) for part in ("weight", "bias")]
            return opset.group_normalization(image, *values, norm.groups, norm.eps)
        image = opset.mvn(image, np.array(self._axes, np.int32), True, norm.eps, "inside_sqrt")
        if norm.affine:
            image = opset.multiply(image, self._channels(f"{step.name}.weight"))
            image = opset.add(image, self._channels(f"{step.name}.bias"))
        return image

    def _of_norm(self, step: Step, norm: Norm, part: str) -> Any:
        """One of a normalisation's weights or statistics; ones and zeros in place of weights that it lacks."""
        if norm.affine or part.startswith("running_"):
            return self._constant(self._values(f"{step.name}.{part}"))
        return np.full(step.shape, part == "weight", np.float32)

    def _activation(self, step: Step, image: Any) -> Any:
        opset, activation = self._opset, step.activation
        value = np.float32(activation.value)
        match activation.kind:
            case "leakyrelu":
                return opset.prelu(image, value)
            case "prelu":
                return opset.prelu(image, self._constant(self._values(f"{step.name}.weight")))
            case "elu":
                return opset.elu(image, activation.value)
            case "relu6":
                return opset.clamp(image, 0.0, 6.0)
            case "swish":
                return opset.swish(image, value)
            case kind:
                return getattr(opset, kind)(image)

    def _pool(self, step: Step, image: Any) -> Any:
        none, stride = [0] * len(self._axes), list(step.stride)
        return self._opset.avg_pool(image, stride, none, none, stride, False)

    def _resize(self, step: Step, image: Any) -> Any:
        factors, axes = np.array(step.stride, np.float32), np.array(self._axes, np.int32)
        return self._opset.interpolate(
            image,
            factors,
            "linear_onnx",
            "scales",
            coordinate_transformation_mode="pytorch_half_pixel",
            axes=axes,
        )

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
