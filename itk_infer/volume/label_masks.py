"""Masks of labels that may overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from itk_infer.volume.grid import UNCHANGED, Grid, Reorientation
from itk_infer.volume.slab import LabelArray
from itk_infer.volume.volume import image_of

if TYPE_CHECKING:
    import SimpleITK as sitk

Mask = NDArray[np.bool_]


class LabelMasks:
    """One mask per label, in one bit per voxel.

    Masks are stored along one set of axes and taken out along another, so that no mask is turned as a whole.

    Args:
        count: Labels.
        size: Voxels, Z Y X, of the stored masks.
        turned: From their axes to those of the masks that are taken out.
    """

    def __init__(self, count: int, size: tuple[int, int, int], turned: Reorientation = UNCHANGED) -> None:
        z, y, x = size
        self._width = x
        self._turned = turned
        self._bits = np.zeros((count, z, y, -(-x // 8)), np.uint8)

    def __len__(self) -> int:
        """Labels."""
        return len(self._bits)

    def __getitem__(self, number: int) -> Mask:
        """The mask of a label, (Z, Y, X), as a new array."""
        mask: Mask = np.unpackbits(self._bits[number], axis=-1, count=self._width).view(np.bool_)
        return np.ascontiguousarray(self._turned.apply(mask))

    def __setitem__(self, number: int, mask: Mask) -> None:
        """Replace the mask of a label."""
        self._bits[number] = np.packbits(self._turned.inverse.apply(mask), axis=-1)

    def put(self, planes: slice, masks: Mask) -> None:
        """Store planes along the stored axes, (L, dz, Y, X)."""
        self._bits[:, planes] = np.packbits(masks, axis=-1)

    def copy_from(self, other: LabelMasks) -> None:
        """Take the masks of another, which stores as many along the same axes."""
        self._bits[...] = other._bits

    def voxels(self, number: int) -> int:
        """Voxels of a label."""
        return int(np.bitwise_count(self._bits[number]).sum(dtype=np.int64))

    def painted(self, values: Sequence[int], into: LabelArray) -> None:
        """Set a label map, (Z, Y, X), to the values of the labels; where they overlap, to that of the last."""
        into[...] = 0
        for number, value in enumerate(values):
            into[self[number]] = value

    def meeting(self) -> NDArray[np.bool_]:
        """Which labels share a voxel, (L, L), symmetric; false of a label with itself, unless it meets another."""
        meet = np.zeros((len(self), len(self)), np.bool_)
        for plane in self._bits.swapaxes(0, 1):
            there = np.flatnonzero(plane.any(axis=(1, 2)))
            masks = np.unpackbits(plane[there], axis=-1, count=self._width).view(np.bool_)
            shared = masks[:, np.count_nonzero(masks, axis=0) > 1].astype(np.float32)
            meet[np.ix_(there, there)] |= shared @ shared.T > 0
        return meet

    def layers(self) -> list[int]:
        """The layer of each label: the first whose labels share no voxel with it."""
        meet = self.meeting()
        layers: list[int] = []
        for label in range(len(meet)):
            taken = {layer for other, layer in enumerate(layers) if meet[label, other]}
            layers.append(next(layer for layer in range(label + 1) if layer not in taken))
        return layers


def layered_image(masks: LabelMasks, values: Sequence[int], layers: Sequence[int], grid: Grid) -> sitk.Image:
    """A label map per layer, as the components of one image; a plain label map where there is a single layer.

    Args:
        masks: Of the labels.
        values: Of the labels; those in one layer differ.
        layers: The layer of each label; labels of one layer share no voxel.
        grid: Of the masks.
    """
    import SimpleITK as sitk

    dtype = np.min_scalar_type(max(values))
    images = []
    for layer in range(max(layers) + 1):
        array = np.zeros(grid.size, dtype)
        for number, (value, own) in enumerate(zip(values, layers, strict=True)):
            if own == layer:
                array[masks[number]] = value
        images.append(image_of(array, grid))
    return sitk.Compose(images) if len(images) > 1 else images[0]


def stacked_image(masks: LabelMasks, grid: Grid) -> sitk.Image:
    """A 4D image with a volume of 0 and 1 for each label; 3D of a single label, as ITK reads 4D of one volume."""
    import SimpleITK as sitk

    volumes = [image_of(masks[number].view(np.uint8), grid) for number in range(len(masks))]
    return sitk.JoinSeries(volumes) if len(volumes) > 1 else volumes[0]
