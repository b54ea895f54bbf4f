"""Cropping to the foreground: the network runs on the body, and everything outside of it becomes background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itk_infer.arrays import Array, namespace, to_host
from itk_infer.volume.interpolation import AxisMap, ModelGrid
from itk_infer.volume.slab import DecidedSlab, LabelArray


@dataclass(frozen=True, slots=True)
class Crop:
    """A box in the model's grid, and the box of native voxels that it covers.

    Attributes:
        box: The box in the model's array, Z Y X.
        grid: How the cropped model grid and the cropped native grid correspond.
        native: The box in the case's native array, Z Y X.
        share: Voxels of the model's grid inside the box, as a fraction of all.
    """

    box: tuple[slice, slice, slice]
    grid: ModelGrid
    native: tuple[slice, slice, slice]
    share: float


def foreground_crop(foreground: Array, grid: ModelGrid) -> Crop | None:
    """The smallest box that holds every foreground voxel.

    Args:
        foreground: Mask of the foreground, (Z, Y, X) bool on the model's grid.
        grid: How the model's grid and the case's native grid correspond.

    Returns:
        None if there is no foreground, or if the box is the whole volume.
    """
    xp = namespace(foreground)
    box, axes, native = [], [], []
    for axis, whole in enumerate(grid.axes):
        others = tuple(other for other in range(3) if other != axis)
        occupied = np.flatnonzero(to_host(xp.any(foreground, axis=others)))
        if not len(occupied):
            return None
        first, last = int(occupied[0]), int(occupied[-1]) + 1
        # The native voxels whose nearest voxel of the model's grid is in the box.
        positions = whole.model_positions()
        inside = np.flatnonzero((positions >= first - 0.5) & (positions < last - 0.5))
        if not len(inside):
            return None
        begin, end = int(inside[0]), int(inside[-1]) + 1
        if first == 0:
            begin = 0
        if last == whole.model:
            end = whole.native
        offset = whole.step * first + whole.offset - begin
        box.append(slice(first, last))
        native.append(slice(begin, end))
        axes.append(AxisMap(end - begin, last - first, whole.step, offset))
    cropped = ModelGrid((axes[0], axes[1], axes[2]))
    share = float(np.prod(cropped.size) / np.prod(grid.size))
    if share == 1:
        return None
    return Crop((box[0], box[1], box[2]), cropped, (native[0], native[1], native[2]), share)


class Uncrop:
    """Turns the slabs of a cropped case into slabs of the whole case, with background around the crop.

    Args:
        take: Called with each slab of the whole case.
        crop: The crop.
        size: Size of the whole case, Z Y X.
    """

    def __init__(self, take: Callable[[DecidedSlab], None], crop: Crop, size: tuple[int, int, int]) -> None:
        self._take = take
        self._crop = crop
        self._size = size
        self._next = 0

    def __call__(self, slab: DecidedSlab) -> None:
        """Take one slab of the cropped case; its logits are dropped."""
        self._background(self._crop.native[0].start, slab)
        _, rows, columns = self._crop.native
        labels, masks = self._empty(len(slab.labels), slab)
        labels[:, rows, columns] = slab.labels
        if masks is not None and slab.masks is not None:
            masks[:, :, rows, columns] = slab.masks
        self._take(DecidedSlab(self._next, labels, masks))
        self._next += len(labels)
        if self._next == self._crop.native[0].stop:
            self._background(self._size[0], slab)

    def _background(self, until: int, like: DecidedSlab) -> None:
        """Pass on planes of background up to `until`, where they lie outside the crop."""
        if self._next < until and not self._crop.native[0].start <= self._next < self._crop.native[0].stop:
            labels, masks = self._empty(until - self._next, like)
            self._take(DecidedSlab(self._next, labels, masks))
            self._next = until

    def _empty(self, depth: int, like: DecidedSlab) -> tuple[LabelArray, NDArray[np.bool_] | None]:
        shape = (depth, *self._size[1:])
        masks = None if like.masks is None else np.zeros((len(like.masks), *shape), np.bool_)
        return np.zeros(shape, like.labels.dtype), masks
