"""Images at random: noise, shapes in zeros, bytes, and what has nothing in it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

KINDS = ("noise", "noise", "ball", "ball", "holes", "integers", "bytes", "zero", "constant", "one voxel")


def image_of(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[NDArray[Any], str]:
    """An image (C, Z, Y, X), and what it is in a word."""
    kind = str(
        rng.choice(
            ("noise", "noise", "ball", "ball", "holes", "integers", "bytes", "zero", "constant", "one voxel")
        )
    )
    z, y, x = np.ogrid[tuple(slice(-1, 1, complex(0, n)) if n > 1 else slice(0, 1) for n in shape[1:])]
    inside = z**2 + y**2 + x**2 < rng.uniform(0.2, 1.5)
    values = rng.normal(rng.uniform(-50, 200), rng.uniform(1, 80), shape)
    if kind == "ball":
        values = np.where(inside, values, 0)
    elif kind == "holes":
        values = np.where(inside & (rng.random(shape[1:]) < 0.9) & ((z + y) ** 2 + x**2 > 0.02), values, 0)
    elif kind == "integers":
        return np.where(inside, np.rint(values), 0).astype(np.int16), kind
    elif kind == "bytes":
        return np.clip(np.rint(values), 0, 255).astype(np.uint8), kind
    elif kind == "zero":
        values[:] = 0
    elif kind == "constant":
        values[:] = rng.uniform(1, 100)
    elif kind == "one voxel":
        values[:] = 0
        values[(slice(None), *(rng.integers(n) for n in shape[1:]))] = 7
    return values.astype(np.float32), kind


def vanishes(image: NDArray[Any], spacing: list[float], target: list[float]) -> bool:
    """Whether the crop to nonzero has no voxel on the network's grid along an axis; nnU-Net fails then."""
    found = np.nonzero((image != 0).any(axis=0))
    sizes = [places.max() + 1 - places.min() for places in found] if len(found[0]) else image.shape[1:]
    return any(round(float(a / b * n)) < 1 for a, b, n in zip(spacing, target, sizes, strict=True))
