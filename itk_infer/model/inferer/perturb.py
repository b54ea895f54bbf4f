"""Small changes of windows that should not change the result, for the option `stability`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import numpy as np

from itk_infer.arrays import Array, like, namespace
from itk_infer.model.backend import Logits, Windows

Forward = Callable[[Windows], Logits]
View = Callable[[Forward], Forward]
NOISE = 0.1  # standard deviation of the noise, as a share of the window's
GAMMAS = (0.8, 1.25)


def unchanged(forward: Forward) -> Forward:
    """Return the network itself."""
    return forward


def flipped(axes: tuple[int, ...]) -> View:
    """The network on mirrored windows, with its outputs mirrored back.

    Args:
        axes: Axes of arrays (N, C, Z, Y, X).
    """

    def view(forward: Forward) -> Forward:
        def run(windows: Windows) -> Logits:
            answers = forward(_flip(windows, axes))
            return _flip(answers, axes)

        return run

    return view if axes else unchanged


def perturbations(count: int, channels: int) -> list[View]:
    """The first `count` of a fixed list of changes: noise, gamma, shifts by one voxel, then other noise.

    Args:
        count: Number of changes.
        channels: Number of image channels, which come first; others are label maps, and are only shifted.
    """
    first = [noise(0, channels), *(gamma(each, channels) for each in GAMMAS), shifted(1), noise(1, channels)]
    more = (noise(seed, channels) for seed in range(2, count + 2))
    alternating = [shifted(-1), *islice(more, count)]
    return list(islice([*first, *alternating], count))


def noise(seed: int, channels: int) -> View:
    """The network on windows with Gaussian noise of a tenth of their standard deviation; the pattern is fixed."""

    def view(forward: Forward) -> Forward:
        patterns: dict[tuple[int, ...], Array] = {}

        def run(windows: Windows) -> Logits:
            shape = tuple(windows.shape[2:])
            if shape not in patterns:
                drawn = np.random.default_rng(seed).standard_normal((channels, *shape), np.float32)
                patterns[shape] = like(drawn, windows)
            xp = namespace(windows)
            image = windows[:, :channels]
            spread = xp.std(image, axis=(2, 3, 4), keepdims=True)
            return forward(_with_image(windows, image + NOISE * spread * patterns[shape]))

        return run

    return view


def gamma(power: float, channels: int) -> View:
    """The network on windows after gamma correction: intensities, scaled to 0 ... 1, are raised to a power."""

    def view(forward: Forward) -> Forward:
        def run(windows: Windows) -> Logits:
            xp = namespace(windows)
            image = windows[:, :channels]
            low = xp.min(image, axis=(2, 3, 4), keepdims=True)
            width = xp.max(image, axis=(2, 3, 4), keepdims=True) - low
            share = (image - low) / xp.where(width > 0, width, xp.ones_like(width))
            return forward(_with_image(windows, low + width * share**power))

        return run

    return view


def shifted(step: int) -> View:
    """The network on windows shifted by one voxel along every axis, outputs shifted back; edges are repeated.

    Args:
        step: 1 or -1.
    """

    def view(forward: Forward) -> Forward:
        return lambda windows: _shift(forward(_shift(windows, step)), -step)

    return view


def _shift(array: Array, step: int) -> Array:
    xp = namespace(array)
    for axis in (2, 3, 4):
        before, after = [slice(None)] * 5, [slice(None)] * 5
        before[axis], after[axis] = (slice(0, 1), slice(0, -1)) if step > 0 else (slice(1, None), slice(-1, None))
        array = xp.concat([array[tuple(before)], array[tuple(after)]], axis=axis)
    return array


def _flip(array: Array, axes: tuple[int, ...]) -> Array:
    return namespace(array).flip(array, axis=axes)


def _with_image(windows: Windows, image: Array) -> Windows:
    """Replace the image channels of windows; float32."""
    xp = namespace(windows)
    image = xp.astype(image, xp.float32, copy=False)
    if image.shape[1] == windows.shape[1]:
        return image
    return xp.concat([image, windows[:, image.shape[1] :]], axis=1)
