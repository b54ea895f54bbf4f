"""Interpolation along one axis at a time; it is separable, so a volume takes three passes.

Positions are in voxels of the source; 0 is the centre of its first voxel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from itk_infer.arrays import Array, like, namespace
from itk_infer.spec.model_spec import Alignment, Interpolation

Floats = NDArray[np.float32]
Positions = NDArray[np.float64]
SPLINE_MARGIN = 12  # voxels of replicated edge, as in scipy.ndimage; farther voxels have weights below 1e-7


@dataclass(frozen=True, slots=True)
class AxisMap:
    """How one axis of the case's native grid and the same axis of the model's grid correspond.

    ``native position = step * model index + offset``.

    Attributes:
        native: Voxels of the case along this axis.
        model: Voxels of the model's grid along this axis.
        step: Native voxels per model voxel.
        offset: Native position of the first model voxel.
        back: How logits return to the native grid along this axis.
    """

    native: int
    model: int
    step: float
    offset: float
    back: Literal["linear", "nearest"] = "linear"

    @property
    def identity(self) -> bool:
        """Whether both grids are the same along this axis."""
        return self.native == self.model and self.step == 1 and self.offset == 0

    @property
    def _extents_coincide(self) -> bool:
        return abs(self.offset - (self.step - 1) / 2) < 1e-9

    def native_positions(self) -> Positions:
        """Positions of the model's voxels on the native axis, shape (model,).

        Where the extents coincide, by scipy's order of operations, so that positions midway between voxels are
        rounded to the same one.
        """
        indices = np.arange(self.model, dtype=np.float64)
        if self._extents_coincide:
            return (indices + 0.5) * self.step - 0.5
        return indices * self.step + self.offset

    def model_positions(self) -> Positions:
        """Positions of the native voxels on the model's axis, shape (native,); whole numbers if `back` is nearest.

        Where the extents coincide, halves are rounded up, as scipy does, by its order of operations; else to the
        even number, as torch does.
        """
        indices = np.arange(self.native, dtype=np.float64)
        if self.back == "linear":
            return (indices - self.offset) / self.step
        if self._extents_coincide:
            return np.floor((indices + 0.5) * (self.model / self.native))
        return np.round((indices - self.offset) / self.step)


@dataclass(frozen=True, slots=True)
class ModelGrid:
    """The grid on which the network runs, and how each axis (Z, Y, X) corresponds to the native grid.

    Attributes:
        axes: Z, Y, X.
        apart: The axis that is resampled separately, and how; None if there is none.
    """

    axes: tuple[AxisMap, AxisMap, AxisMap]
    apart: tuple[int, Interpolation] | None = None

    @property
    def size(self) -> tuple[int, int, int]:
        """Voxels of the model's grid, Z Y X."""
        z, y, x = self.axes
        return z.model, y.model, x.model

    @property
    def identity(self) -> bool:
        """Whether the native grid is the model's grid, so that nothing is resampled."""
        return all(axis.identity for axis in self.axes)


def axis_map(native: int, model: int, step: float, alignment: Alignment) -> AxisMap:
    """The correspondence for `model` voxels over `native` ones.

    Args:
        native: Voxels of the case.
        model: Voxels of the model's grid.
        step: Model spacing divided by native spacing; used by ``center``. ``edge`` uses the ratio of the sizes.
        alignment: ``center``: the centres of the first voxels coincide (SimpleITK); ``edge``: the extents
            coincide (skimage, torch without align_corners).
    """
    if alignment == "center":
        return AxisMap(native, model, step, 0.0)
    ratio = native / model
    return AxisMap(native, model, ratio, (ratio - 1) / 2)


def needed(positions: Positions, count: int) -> slice:
    """The voxels of a source of `count` voxels that `resample_axis` needs for these positions, unless by cubic."""
    inside = np.clip(positions, 0, count - 1)
    return slice(min(int(inside.min()), max(count - 2, 0)), min(int(inside.max()) + 2, count))


def resample_axis(
    array: Array, positions: Positions, axis: int, how: Interpolation, within: tuple[int, int] | None = None
) -> Array:
    """Interpolate along one axis.

    Args:
        array: Any shape and number type.
        positions: Positions to sample along `axis`. Outside the source, linear and nearest take the edge
            voxel, and cubic the spline through the replicated edge.
        axis: The axis to resample.
        how: linear, cubic (spline of order 3) or nearest.
        within: Where `array` is a part of the source, as `needed`: its first voxel, and voxels of the source. Not
            for cubic.

    Returns:
        float32, with ``len(positions)`` entries along `axis`.
    """
    xp, (before, count) = namespace(array), within or (0, array.shape[axis])
    if how == "cubic":
        matrix = like(_spline_matrix(positions, count), array)
        source = xp.astype(array, xp.float32, copy=False)
        return xp.moveaxis(xp.tensordot(matrix, source, axes=((1,), (axis,))), 0, axis)

    inside = np.clip(positions, 0, count - 1)
    nearest = np.floor(inside + 0.5).astype(np.intp)
    lower = nearest if how == "nearest" else np.minimum(inside.astype(np.intp), max(count - 2, 0))
    upper = nearest if how == "nearest" else np.minimum(lower + 1, count - 1)
    # `take` would copy a reoriented array at each call; only the range that is used is copied, once.
    first, end = (int(lower.min()), int(upper.max()) + 1) if len(positions) else (0, 0)
    near = array[(*(slice(None),) * axis, slice(first - before, end - before))]
    near = np.ascontiguousarray(near) if xp is np else near

    def picked(indices: NDArray[np.intp]) -> Array:
        return xp.astype(xp.take(near, like(indices - first, array), axis=axis), xp.float32, copy=False)

    if how == "nearest":
        return picked(nearest)
    shape = [1] * array.ndim
    shape[axis] = len(positions)
    fraction = (inside - lower).astype(np.float32).reshape(shape)
    below, above = picked(lower), picked(upper)
    above -= below
    above *= like(fraction, array)
    above += below
    return above


def shrink_axis(array: Array, grid: AxisMap, axis: int) -> Array:
    """Interpolate along one axis with a triangle filter as wide as a voxel of the model's grid (antialiasing).

    The weights of Pillow's and torch's antialiased bilinear resizing: 1 - |distance| / max(step, 1), cut off at
    0 and at the edges of the image, and normalised. Where the step is 1 or less, it is linear interpolation.

    Args:
        array: Any shape and number type.
        grid: Correspondence along the axis.
        axis: Index of the axis.

    Returns:
        float32, with ``grid.model`` entries along `axis`.
    """
    xp = namespace(array)
    positions, width = grid.native_positions(), max(grid.step, 1.0)
    distances = np.abs(positions[:, None] - np.arange(grid.native)[None])
    weights = np.clip(1 - distances / width, 0, None)
    weights[np.arange(grid.model), np.clip(np.round(positions), 0, grid.native - 1).astype(np.intp)] += 1e-12
    matrix = like((weights / weights.sum(axis=1, keepdims=True)).astype(np.float32), array)
    source = xp.astype(array, xp.float32, copy=False)
    return xp.moveaxis(xp.tensordot(matrix, source, axes=((1,), (axis,))), 0, axis)


def _spline_matrix(positions: Positions, count: int) -> Floats:
    """Weights (positions, count) of the interpolating cubic B-spline over the edge-replicated signal.

    Samples = B c, where B holds the basis functions at the positions and the coefficients c solve
    the tridiagonal system A c = signal (Unser, "Splines: a perfect fit", 1999).
    """
    padded = count + 2 * SPLINE_MARGIN
    system = (
        np.diag(np.full(padded, 4.0)) + np.diag(np.ones(padded - 1), 1) + np.diag(np.ones(padded - 1), -1)
    ) / 6
    system[0, 0] = system[-1, -1] = 5 / 6  # reflected boundary; its influence has decayed at the edge of the image
    replicate = np.zeros((padded, count))
    replicate[np.arange(padded), np.clip(np.arange(padded) - SPLINE_MARGIN, 0, count - 1)] = 1
    shifted = np.clip(positions + SPLINE_MARGIN, 1, padded - 3)
    first = np.floor(shifted).astype(np.intp)
    t = shifted - first
    basis = np.zeros((len(positions), padded))
    rows = np.arange(len(positions))
    for neighbour, weight in (
        (-1, (1 - t) ** 3 / 6),
        (0, 2 / 3 - t**2 + t**3 / 2),
        (1, 2 / 3 - (1 - t) ** 2 + (1 - t) ** 3 / 2),
        (2, t**3 / 6),
    ):
        basis[rows, first + neighbour] = weight
    weights: NDArray[np.float64] = basis @ np.linalg.solve(system, replicate)
    return weights.astype(np.float32)
