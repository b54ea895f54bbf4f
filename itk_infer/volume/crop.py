"""Cropping to the foreground: the network runs on the body; everything outside of it is background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itk_infer.arrays import Array
from itk_infer.spec.model_spec import CropRule
from itk_infer.volume.box import Box
from itk_infer.volume.foreground import box_around, grown_box
from itk_infer.volume.interpolation import AxisMap, ModelGrid
from itk_infer.volume.padding import NO_PADS, Pads
from itk_infer.volume.slab import DecidedSlab


@dataclass(frozen=True, slots=True)
class Crop:
    """A box in the model's grid, and the box of native voxels that it covers.

    Attributes:
        box: The box in the model's array, Z Y X.
        grid: How the cropped model grid and the cropped native grid correspond.
        native: The box in the case's native array, Z Y X.
        share: Voxels inside the box, as a fraction of the model's grid.
        beyond: Voxels by which the box exceeds the model's array, before and after, along Z, Y, X.
    """

    box: Box
    grid: ModelGrid
    native: Box
    share: float
    beyond: Pads = NO_PADS


def foreground_crop(
    foreground: Array, grid: ModelGrid, rule: CropRule | None = None, *, faded: bool = False
) -> Crop | None:
    """The smallest box that holds every foreground voxel.

    Args:
        foreground: Mask of the foreground, (Z, Y, X) bool on the model's grid.
        grid: How the model's grid and the case's native grid correspond.
        rule: Margin and divisibility of the box; None: neither.
        faded: Which native voxels the box covers. False: those whose nearest voxel of the model's grid is inside.
            True: all that have a neighbouring voxel inside: if channels fade to 0 within one voxel around the box,
            the largest one there is that of the box's edge.

    Returns:
        None if there is no foreground, or if the box is the whole volume.
    """
    around = box_around(foreground)
    if around is None:
        return None
    grown, beyond = grown_box(around, grid.size, rule or CropRule())
    box, axes, native = [], [], []
    for whole, side in zip(grid.axes, grown, strict=True):
        first, last = side.start, side.stop
        positions = whole.model_positions()
        if faded:
            covered = (positions > first - 1) & (positions < last)
        else:
            covered = (positions >= first - 0.5) & (positions < last - 0.5)
        inside = np.flatnonzero(covered)
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
        axes.append(AxisMap(end - begin, last - first, whole.step, offset, whole.back))
    cropped = ModelGrid((axes[0], axes[1], axes[2]))
    share = float(np.prod(cropped.size) / np.prod(grid.size))
    if share == 1 and beyond == NO_PADS:
        return None
    return Crop((box[0], box[1], box[2]), cropped, (native[0], native[1], native[2]), share, beyond)


class Uncrop:
    """Turns the slabs of a part of a case into slabs of the whole case, with background around it.

    Args:
        take: Called with each slab of the whole case, in order.
        part: The part's box in the case's native array, Z Y X.
        size: Size of the whole case, Z Y X.
        outside: Logits of a voxel outside the part, (C,).
    """

    def __init__(
        self,
        take: Callable[[DecidedSlab], None],
        part: Box,
        size: tuple[int, int, int],
        outside: NDArray[np.float16],
    ) -> None:
        self._take = take
        self._part = part
        self._size = size
        self._outside = outside
        self._next = 0

    def __call__(self, slab: DecidedSlab) -> None:
        """Process one slab of the part."""
        self._background(self._part[0].start, slab)
        _, rows, columns = self._part
        whole = self._empty(len(slab.labels), slab)
        whole.labels[:, rows, columns] = slab.labels
        for around, inside in ((whole.masks, slab.masks), (whole.logits, slab.logits)):
            if around is not None and inside is not None:
                around[:, :, rows, columns] = inside
        self._take(whole)
        self._next += len(whole.labels)
        if self._next == self._part[0].stop:
            self._background(self._size[0], slab)

    def _background(self, until: int, like: DecidedSlab) -> None:
        """Emit background planes outside of the part, up to plane `until`, a few at a time."""
        while self._next < until and not self._part[0].start <= self._next < self._part[0].stop:
            empty = self._empty(min(len(like.labels), until - self._next), like)
            self._take(empty)
            self._next += len(empty.labels)

    def _empty(self, depth: int, like: DecidedSlab) -> DecidedSlab:
        shape = (depth, *self._size[1:])
        masks = logits = None
        if like.masks is not None:
            masks = np.zeros((len(like.masks), *shape), np.bool_)
        if like.logits is not None:
            logits = np.empty((len(like.logits), *shape), np.float16)
            logits[...] = self._outside[:, None, None, None]
        return DecidedSlab(self._next, np.zeros(shape, like.labels.dtype), masks, logits)
