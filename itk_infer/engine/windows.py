"""Positions of the windows over a volume, and their blending weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from itk_infer.spec.model_spec import Blend, Placement

T = TypeVar("T")
PartialSize = tuple[int | None, int | None, int | None]  # None: the whole volume along that axis
PartialStride = tuple[float | None, float | None, float | None]


@dataclass(frozen=True, slots=True)
class AxisWindows:
    """The windows along one axis.

    Attributes:
        size: Voxels of the volume.
        patch: Voxels of a window.
        pad_before: Voxels of padding before the volume: half of the missing voxels, rounded down.
        pad_after: Voxels of padding after it.
        origins: First voxel of each window on the padded axis, ascending.
        weights: (len(origins), patch) float32; they sum to 1 at every voxel. For a grid with a floor: profiles
            with a maximum of 1.
    """

    size: int
    patch: int
    pad_before: int
    pad_after: int
    origins: tuple[int, ...]
    weights: NDArray[np.float32]

    @property
    def padded(self) -> int:
        """Voxels of the padded axis."""
        return self.pad_before + self.size + self.pad_after


@dataclass(frozen=True, slots=True)
class WindowGrid:
    """All windows of a volume: the product of three axes (Z, Y, X).

    Attributes:
        axes: Z, Y, X.
        floor: Smallest weight of a voxel in a window. Weights that are raised to it are not separable, so they
            cannot be normalised per axis: their sum is accumulated with the windows.
    """

    axes: tuple[AxisWindows, AxisWindows, AxisWindows]
    floor: float = 0.0

    @property
    def patch(self) -> tuple[int, int, int]:
        """Window size, Z Y X."""
        z, y, x = self.axes
        return z.patch, y.patch, x.patch

    @property
    def padded_size(self) -> tuple[int, int, int]:
        """Size of the padded volume, Z Y X."""
        z, y, x = self.axes
        return z.padded, y.padded, x.padded

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """Padding before and after, for Z, Y, X."""
        return tuple((axis.pad_before, axis.pad_after) for axis in self.axes)

    def between(self, first: int, stop: int) -> WindowGrid:
        """The windows that overlap planes `first` to `stop` (exclusive) of the padded volume."""
        z, y, x = self.axes
        kept = [n for n, origin in enumerate(z.origins) if origin < stop and origin + z.patch > first]
        origins = tuple(z.origins[n] for n in kept)
        return replace(self, axes=(replace(z, origins=origins, weights=z.weights[kept]), y, x))

    def pads_beside(self, pads: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        """Padding before and after, for Z, Y, X, less `pads`."""
        return tuple((a - c, b - d) for (a, b), (c, d) in zip(self.pads, pads, strict=True))

    def without(self, pads: tuple[tuple[int, int], ...]) -> WindowGrid:
        """The same windows if `pads` voxels before and after of the volume are padding, too."""
        z, y, x = (
            replace(
                axis,
                size=axis.size - before - after,
                pad_before=axis.pad_before + before,
                pad_after=axis.pad_after + after,
            )
            for axis, (before, after) in zip(self.axes, pads, strict=True)
        )
        return replace(self, axes=(z, y, x))

    def origin(self, index: tuple[int, int, int]) -> tuple[int, int, int]:
        """First voxel of a window on the padded volume."""
        z, y, x = (axis.origins[i] for axis, i in zip(self.axes, index, strict=True))
        return z, y, x

    def __len__(self) -> int:
        """Number of windows."""
        return math.prod(len(axis.origins) for axis in self.axes)

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """Indices of the windows, Z-major: all windows of one Z origin before the next."""
        z, y, x = (range(len(axis.origins)) for axis in self.axes)
        return ((i, j, k) for i in z for j in y for k in x)


def place_windows(
    size: tuple[int, int, int],
    patch: PartialSize,
    stride: PartialStride,
    multiple_of: tuple[int, int, int],
    blend: Blend,
    *,
    placement: Placement = "shift_last",
    center: Literal["middle", "voxel"] = "middle",
    floor: float = 0.0,
) -> WindowGrid:
    """Cover a volume with windows.

    Args:
        size: Voxels of the volume, Z Y X.
        patch: Window size; None takes the whole volume, padded up to `multiple_of`.
        stride: Step between windows, at most the patch; None: half the patch. ``shift_last`` rounds it down.
        multiple_of: The size of a whole-volume window is rounded up to a multiple of this, Z Y X.
        blend: ``gaussian`` (sigma = patch / 8) or ``constant``.
        placement: ``shift_last``: 0, stride, 2 stride, ... and a last window at the end; ``even``: the fewest
            windows that are no more than a stride apart, evenly spread and rounded (halves to the even number).
        center: Center of the gaussian: ``middle``: (patch - 1) / 2, ``voxel``: patch // 2.
        floor: Smallest weight of the gaussian: lower weights are raised to it; 0: none are.
    """
    floor = floor if blend == "gaussian" else 0.0
    z, y, x = (
        _axis(*values, blend, placement, center, normalised=not floor)
        for values in zip(size, patch, stride, multiple_of, strict=True)
    )
    return WindowGrid((z, y, x), floor)


def _axis(
    size: int,
    patch: int | None,
    stride: float | None,
    multiple: int,
    blend: Blend,
    placement: Placement,
    center: Literal["middle", "voxel"],
    *,
    normalised: bool,
) -> AxisWindows:
    window = patch if patch is not None else math.ceil(size / multiple) * multiple
    missing = max(0, window - size)
    padded = size + missing
    origins = _origins(padded - window, window / 2 if stride is None else stride, placement)
    profile = np.ones(window)
    if blend == "gaussian":
        offsets = np.arange(window) - ((window - 1) / 2 if center == "middle" else window // 2)
        profile = np.exp(-0.5 * (offsets / (window / 8)) ** 2)
    if normalised:
        weights = _weights(padded, profile, origins)
    else:
        weights = np.broadcast_to(profile.astype(np.float32), (len(origins), window))
    return AxisWindows(size, window, missing // 2, missing - missing // 2, origins, weights)


def _origins(last: int, stride: float, placement: Placement) -> tuple[int, ...]:
    """First voxels of the windows along an axis, from 0 to `last`."""
    step = max(1.0, stride)
    if placement == "shift_last":
        return (*range(0, last, int(step)), last)
    gaps = math.ceil(last / step)
    return tuple(round(last / gaps * i) for i in range(gaps + 1)) if gaps else (0,)


def _weights(size: int, profile: NDArray[np.float64], origins: tuple[int, ...]) -> NDArray[np.float32]:
    """Weights that sum to 1 at every voxel, (len(origins), patch).

    Windows lie on a grid and weights are separable, so normalising along each axis equals normalising in 3D.
    """
    patch = len(profile)
    total = np.zeros(size)
    for origin in origins:
        total[origin : origin + patch] += profile
    return np.stack([profile / total[origin : origin + patch] for origin in origins]).astype(np.float32)
