"""Compute a network with NumPy alone, from its steps: what OpenVINO's outputs are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from itk_infer.model.kinds.nnunet.architecture import Architecture
from itk_infer.model.kinds.nnunet.graph import IMAGE, Step, norm_keeps
from itk_infer.model.kinds.nnunet.weights import Values

CACHED = 1 << 16  # values of a sum that stays in a core's cache
Image: TypeAlias = NDArray[np.float32]  # (C, Z, Y, X); of a 2D network, (C, Y, 1, X)


def reference_logits(
    about: Architecture, steps: Sequence[Step], folds: Sequence[Mapping[str, Values]], windows: Image
) -> Image:
    """Mean logits (N, C', ...) of several folds for windows (N, C, ...)."""
    return np.stack([_mean([_Reference(about, fold).run(steps, window) for fold in folds]) for window in windows])


def _mean(logits: Sequence[Image]) -> Image:
    total, *others = logits
    for other in others:
        total += other
    return total / np.float32(len(logits))


class _Reference:
    """One fold's network. Results are freed after their last use, and changed in place where that is one."""

    def __init__(self, about: Architecture, weights: Mapping[str, Values]) -> None:
        self._about, self._weights = about, weights

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
        weight, stride = self._kernel(step), _solid(step.stride, 1)
        bias = self._weights[f"{step.name}.bias"] if step.bias == "used" else None
        return [convolved(parts, weight, bias, stride)]

    def _transposed(self, step: Step, parts: list[Image], *, own: bool) -> list[Image]:
        (image,) = parts
        weight = self._kernel(step)
        size = weight.shape[2:]
        bias = self._weights[f"{step.name}.bias"] if step.bias == "used" else None
        result = np.empty(
            (weight.shape[1], *(n * k for n, k in zip(image.shape[1:], size, strict=True))), np.float32
        )
        for place in np.ndindex(*size):
            at = tuple(slice(start, None, step) for start, step in zip(place, size, strict=True))
            part = weight[(slice(None), slice(None), *place)].T @ image.reshape(len(image), -1)
            result[(slice(None), *at)] = part.reshape(-1, *image.shape[1:])
        if bias is not None:
            result += _channels(bias)
        return [result]

    def _norm(self, step: Step, parts: list[Image], *, own: bool) -> list[Image]:
        (image,) = parts
        affine, tracked = norm_keeps(self._about)
        if tracked:
            means, variances = (self._weights[f"{step.name}.running_{part}"] for part in ("mean", "var"))
        else:
            axes = tuple(range(1, image.ndim))
            means = image.mean(axes, np.float64)
            variances = np.array(
                [np.square(c - np.float32(m)).mean(dtype=np.float64) for c, m in zip(image, means, strict=True)]
            )
        scales = 1 / np.sqrt(np.asarray(variances, np.float64) + self._about.norm_keywords.get("eps", 1e-5))
        shifts = -np.asarray(means, np.float64) * scales
        if affine:
            weight, bias = (
                np.asarray(self._weights[f"{step.name}.{part}"], np.float64) for part in ("weight", "bias")
            )
            scales, shifts = scales * weight, shifts * weight + bias
        result = np.multiply(image, _channels(scales), out=image if own else None)
        result += _channels(shifts)
        return [result]

    def _activation(self, _: Step, parts: list[Image], *, own: bool) -> list[Image]:
        (image,) = parts
        slope = 0.0
        if self._about.activation != "ReLU":
            slope = self._about.activation_keywords.get("negative_slope", 0.01)
        larger = np.maximum if slope <= 1 else np.minimum
        result = image if own else image.copy()
        for channel in result:
            larger(channel, channel * np.float32(slope), out=channel)
        return [result]

    def _pool(self, step: Step, parts: list[Image], *, own: bool) -> list[Image]:
        (image,) = parts
        stride = _solid(step.stride, 1)
        size = [n // step for n, step in zip(image.shape[1:], stride, strict=True)]
        total = np.zeros((len(image), *size), np.float32)
        for place in np.ndindex(*stride):
            at = tuple(
                slice(start, start + step * n, step) for start, step, n in zip(place, stride, size, strict=True)
            )
            total += image[(slice(None), *at)]
        total /= np.float32(np.prod(stride))
        return [total]

    def _add(self, _: Step, parts: list[Image], *, own: bool) -> list[Image]:
        image, other = parts
        return [np.add(image, other, out=image if own else None)]

    def _join(self, _: Step, parts: list[Image], *, own: bool) -> list[Image]:
        return parts  # the convolution after it takes both

    def _kernel(self, step: Step) -> Image:
        values = np.asarray(self._weights[f"{step.name}.weight"], np.float32)
        return values[:, :, :, None] if values.ndim == 4 else values


def convolved(parts: Sequence[Image], weight: Image, bias: Values | None, stride: Sequence[int]) -> Image:
    """A convolution of the channels of all parts, as matrix products, plane by plane.

    Args:
        parts: (C, Z, Y, X) each.
        weight: (C_out, C_in, kernel of 3 axes); the padding is (kernel - 1) // 2.
        bias: (C_out,) or None.
        stride: Along 3 axes.
    """
    out, _, *kernel = weight.shape
    pads = [(k - 1) // 2 for k in kernel]
    size = parts[0].shape[1:]
    sizes = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(size, pads, kernel, stride, strict=True)]
    # Matrices (C_out, C_in of all places along X), by places along Z and Y.
    taps = np.ascontiguousarray(weight.transpose(2, 3, 0, 4, 1)).reshape(*kernel[:2], out, -1)
    result = np.empty((out, *sizes), np.float32)
    rows = max(1, CACHED // (out * sizes[2]))
    planes: dict[int, Image] = {}
    for z in range(sizes[0]):
        first = z * stride[0] - pads[0]
        there = range(max(first, 0), min(first + kernel[0], size[0]))
        planes = {
            at: planes[at] if at in planes else _columns(parts, at, kernel, pads, stride, sizes) for at in there
        }
        for y in range(0, sizes[1], rows):
            count = min(rows, sizes[1] - y)
            total = np.zeros((out, count * sizes[2]), np.float32)
            for at, plane in planes.items():
                for place in range(kernel[1]):
                    start = y * stride[1] + place
                    taken = plane[:, start : start + stride[1] * (count - 1) + 1 : stride[1]]
                    total += taps[at - first, place] @ taken.reshape(len(taken), -1)
            if bias is not None:
                total += bias[:, None]
            result[:, z, y : y + count] = total.reshape(out, count, -1)
    return result


def _columns(
    parts: Sequence[Image],
    z: int,
    kernel: Sequence[int],
    pads: Sequence[int],
    stride: Sequence[int],
    sizes: Sequence[int],
) -> Image:
    """One plane, padded along Y, with all places of the kernel along X: (places * C, Y, X)."""
    channels = sum(len(part) for part in parts)
    y, x = parts[0].shape[2:]
    padded = np.zeros((channels, y + 2 * pads[1], x + 2 * pads[2]), np.float32)
    first = 0
    for part in parts:
        padded[first : first + len(part), pads[1] : pads[1] + y, pads[2] : pads[2] + x] = part[:, z]
        first += len(part)
    places = [padded[..., c : c + stride[2] * (sizes[2] - 1) + 1 : stride[2]] for c in range(kernel[2])]
    return np.concatenate(places)


def _solid(size: Sequence[int], between: int) -> tuple[int, ...]:
    """A size along Y and X, as one along Y, an axis of length 1, and X."""
    return tuple(size) if len(size) == 3 else (size[0], between, size[1])


def _channels(values: Any) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)[:, None, None, None]
