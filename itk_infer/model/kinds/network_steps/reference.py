"""Compute a network with NumPy alone, from its steps: what OpenVINO's outputs are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.model.kinds.network_steps.convolutions import (
    Image,
    convolved,
    pooled,
    resized,
    solid,
    transposed,
)
from itk_infer.model.kinds.network_steps.step import IMAGE, Activation, Norm, Step, Values


def reference_logits(
    steps: Sequence[Step], folds: Sequence[Mapping[str, Values]], windows: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Mean logits (N, C', ...) of several folds for windows (N, C, ...)."""
    return np.stack([_mean([_Reference(fold).run(steps, window) for fold in folds]) for window in windows])


def _mean(logits: Sequence[Image]) -> Image:
    total, *others = logits
    for other in others:
        total += other
    return total / np.float32(len(logits))


class _Reference:
    """One fold's network. Results are freed after their last use, and changed in place where that is one."""

    def __init__(self, weights: Mapping[str, Values]) -> None:
        self._weights = weights

    def run(self, steps: Sequence[Step], window: Image) -> Image:
        flat = window.ndim == 3
        last = {source: number for number, step in enumerate(steps) for source in step.sources}
        results: dict[int, list[Image]] = {IMAGE: [window[:, :, None] if flat else window]}
        for number, step in enumerate(steps):
            if step.kind == "unused":
                continue
            parts = [part for source in step.sources for part in results[source]]
            own = {source for source in step.sources if last[source] == number and source != IMAGE}
            for source in own:
                del results[source]
            make = getattr(self, f"_{step.kind}")
            results[number + 1] = make(step, parts, own=len(own) == len(step.sources))
        (logits,) = results[len(steps)]
        return logits[:, :, 0] if flat else logits

    def _conv(self, step: Step, parts: list[Image], *, own: bool) -> list[Image]:
        stride, padding = solid(step.stride, 1), solid(step.padding, 0)
        return [convolved(parts, self._kernel(step), self._bias(step), stride, padding)]

    def _transposed(self, step: Step, parts: list[Image], *, own: bool) -> list[Image]:
        stride, padding, extra = solid(step.stride, 1), solid(step.padding, 0), solid(step.extra, 0)
        return [transposed(parts, self._kernel(step), self._bias(step), stride, padding, extra)]

    def _norm(self, step: Step, parts: list[Image], *, own: bool) -> list[Image]:
        (image,), norm = parts, step.norm
        if norm.tracked:
            means, variances = (self._weights[f"{step.name}.running_{part}"] for part in ("mean", "var"))
        else:
            means, variances = _statistics(image, norm)
        scales = 1 / np.sqrt(np.asarray(variances, np.float64) + norm.eps)
        shifts = -np.asarray(means, np.float64) * scales
        if norm.affine:
            weight, bias = (
                np.asarray(self._weights[f"{step.name}.{part}"], np.float64) for part in ("weight", "bias")
            )
            scales, shifts = scales * weight, shifts * weight + bias
        result = np.multiply(image, _channels(scales), out=image if own else None)
        result += _channels(shifts)
        return [result]

    def _activation(self, step: Step, parts: list[Image], *, own: bool) -> list[Image]:
        (image,) = parts
        slopes = None
        if step.activation.kind == "prelu":
            slopes = np.broadcast_to(np.asarray(self._weights[f"{step.name}.weight"], np.float32), len(image))
        result = image if own else image.copy()
        for number, channel in enumerate(result):
            _activate(channel, step.activation, None if slopes is None else slopes[number])
        return [result]

    def _pool(self, step: Step, parts: list[Image], *, own: bool) -> list[Image]:
        (image,) = parts
        return [pooled(image, solid(step.stride, 1))]

    def _resize(self, step: Step, parts: list[Image], *, own: bool) -> list[Image]:
        (image,) = parts
        return [resized(image, solid(step.stride, 1))]

    def _add(self, _: Step, parts: list[Image], *, own: bool) -> list[Image]:
        image, other = parts
        return [np.add(image, other, out=image if own else None)]

    def _join(self, _: Step, parts: list[Image], *, own: bool) -> list[Image]:
        return parts  # the convolution after it takes both

    def _kernel(self, step: Step) -> Image:
        values = np.asarray(self._weights[f"{step.name}.weight"], np.float32)
        return values[:, :, :, None] if values.ndim == 4 else values

    def _bias(self, step: Step) -> Values | None:
        return np.asarray(self._weights[f"{step.name}.bias"], np.float32) if step.bias == "used" else None


def _statistics(image: Image, norm: Norm) -> tuple[Values, Values]:
    """Means and variances of each channel, or of its group, in float64."""
    axes = tuple(range(1, image.ndim))
    means = image.mean(axes, np.float64)
    if norm.kind == "group":
        means = np.repeat(means.reshape(norm.groups, -1).mean(1), len(image) // norm.groups)
    variances = np.array(
        [np.square(c - np.float32(m)).mean(dtype=np.float64) for c, m in zip(image, means, strict=True)]
    )
    if norm.kind == "group":
        variances = np.repeat(variances.reshape(norm.groups, -1).mean(1), len(image) // norm.groups)
    return means, variances


def _activate(channel: NDArray[np.float32], activation: Activation, slope: np.float32 | None) -> None:
    """Apply an activation to the values of a channel, in place. `slope` is that of ``prelu``."""
    value = np.float32(activation.value) if slope is None else slope
    match activation.kind:
        case "relu":
            np.maximum(channel, 0, out=channel)
        case "leakyrelu" | "prelu":
            larger = np.maximum if value <= 1 else np.minimum
            larger(channel, channel * value, out=channel)
        case "elu":
            np.copyto(channel, value * np.expm1(np.minimum(channel, 0)), where=channel < 0)
        case "relu6":
            np.clip(channel, 0, 6, out=channel)
        case "sigmoid":
            channel[...] = _sigmoid(channel)
        case "tanh":
            np.tanh(channel, out=channel)
        case "swish":
            channel *= _sigmoid(channel * value)
        case "mish":
            channel *= np.tanh(np.logaddexp(channel, np.float32(0)))


def _sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    half = np.float32(0.5)  # a form that does not overflow
    found: NDArray[np.float32] = half + half * np.tanh(half * values)
    return found


def _channels(values: Any) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)[:, None, None, None]
