"""Convolutions and the like of one image with NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from itk_infer.model.kinds.network_steps.step import Values

CACHED = 1 << 16  # values of a sum that stays in a core's cache
Image: TypeAlias = NDArray[np.float32]  # (C, Z, Y, X); of a 2D network, (C, Y, 1, X)


def convolved(
    parts: Sequence[Image], weight: Image, bias: Values | None, stride: Sequence[int], pads: Sequence[int]
) -> Image:
    """A convolution of the channels of all parts, as matrix products, plane by plane.

    Args:
        parts: (C, Z, Y, X) each.
        weight: (C_out, C_in, kernel of 3 axes).
        bias: (C_out,) or None.
        stride: Along 3 axes.
        pads: Zeros on either side, along 3 axes.
    """
    out, _, *kernel = weight.shape
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


def transposed(
    parts: Sequence[Image],
    weight: Image,
    bias: Values | None,
    stride: Sequence[int],
    pads: Sequence[int],
    extra: Sequence[int],
) -> Image:
    """A transposed convolution of the channels of all parts, place by place of the kernel.

    Args:
        parts: (C, Z, Y, X) each.
        weight: (C_in, C_out, kernel of 3 axes).
        bias: (C_out,) or None.
        stride: Along 3 axes.
        pads: What is cut off on either side, along 3 axes.
        extra: What is added behind, along 3 axes.
    """
    image = np.concatenate(parts) if len(parts) > 1 else parts[0]
    size, kernel = image.shape[1:], weight.shape[2:]
    sides = zip(size, stride, pads, kernel, extra, strict=True)
    sizes = [(n - 1) * s - 2 * p + k + e for n, s, p, k, e in sides]
    values = image.reshape(len(image), -1)
    result = np.zeros((weight.shape[1], *sizes), np.float32)
    for place in np.ndindex(*kernel):
        part = (weight[(slice(None), slice(None), *place)].T @ values).reshape(-1, *size)
        to: list[slice] = [slice(None)]
        taken: list[slice] = [slice(None)]
        for at, n, step, pad, total in zip(place, size, stride, pads, sizes, strict=True):
            first = max(0, -((at - pad) // step))  # values before it are cut off
            count = min(n, (total - 1 - (at - pad)) // step + 1) - first
            start = first * step + at - pad
            taken.append(slice(first, first + max(count, 0)))
            to.append(slice(start, start + step * max(count, 0), step))
        result[tuple(to)] += part[tuple(taken)]
    if bias is not None:
        result += bias[:, None, None, None]
    return result


def pooled(image: Image, stride: Sequence[int]) -> Image:
    """Means of boxes of the size `stride`."""
    size = [n // step for n, step in zip(image.shape[1:], stride, strict=True)]
    total = np.zeros((len(image), *size), np.float32)
    for place in np.ndindex(*stride):
        at = tuple(
            slice(start, start + step * n, step) for start, step, n in zip(place, stride, size, strict=True)
        )
        total += image[(slice(None), *at)]
    total /= np.float32(np.prod(stride))
    return total


def resized(image: Image, factors: Sequence[int]) -> Image:
    """Linear interpolation to a multiple of the size; values beyond the first and last are those themselves."""
    for axis, factor in enumerate(factors, 1):
        if factor == 1:
            continue
        count = image.shape[axis]
        places = np.maximum((np.arange(count * factor) + 0.5) / factor - 0.5, 0)
        before = places.astype(np.intp)
        after = np.minimum(before + 1, count - 1)
        share = (places - before).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(image.ndim)])
        image = image.take(before, axis) * (1 - share) + image.take(after, axis) * share
    return image


def solid(size: Sequence[int], between: int) -> tuple[int, ...]:
    """A size along Y and X, as one along Y, an axis of length 1, and X."""
    return tuple(size) if len(size) == 3 else (size[0], between, size[1])
