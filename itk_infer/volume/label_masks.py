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
    """One mask per label, stored as one bit per voxel.

    Masks are stored in one orientation and returned in another, so that no mask is reoriented as a whole.

    Args:
        count: Number of labels.
        size: Voxels of the stored masks, Z Y X.
        turned: Reorientation from stored to returned masks.
    """

    def __init__(self, count: int, size: tuple[int, int, int], turned: Reorientation = UNCHANGED) -> None:
        z, y, x = size
        self._width = x
        self._turned = turned
        self._bits = np.zeros((count, z, y, -(-x // 8)), np.uint8)

    def __len__(self) -> int:
        """Number of labels."""
        return len(self._bits)

    def __getitem__(self, number: int) -> Mask:
        """The mask of a label, (Z, Y, X), as a new array."""
        mask: Mask = np.unpackbits(self._bits[number], axis=-1, count=self._width).view(np.bool_)
        return np.ascontiguousarray(self._turned.apply(mask))

    def __setitem__(self, number: int, mask: Mask) -> None:
        """Replace the mask of a label."""
        self._bits[number] = np.packbits(self._turned.inverse.apply(mask), axis=-1)

    def put(self, planes: slice, masks: Mask) -> None:
        """Store planes in the stored orientation, (L, dz, Y, X)."""
        self._bits[:, planes] = np.packbits(masks, axis=-1)

    def copy_from(self, other: LabelMasks) -> None:
        """Copy all masks from another object of the same count and stored size."""
        self._bits[...] = other._bits

    def voxels(self, number: int) -> int:
        """Number of voxels of a label."""
        return int(np.bitwise_count(self._bits[number]).sum(dtype=np.int64))

    def painted(self, values: Sequence[int], into: LabelArray) -> None:
        """Write the values of the labels into a label map, (Z, Y, X); where they overlap, that of the last."""
        into[...] = 0
        for number, value in enumerate(values):
            into[self[number]] = value

    def meeting(self) -> NDArray[np.bool_]:
        """Whether labels share a voxel, (L, L), symmetric; the diagonal: whether the label meets another."""
        meet = np.zeros((len(self), len(self)), np.bool_)
        for plane in self._bits.swapaxes(0, 1):
            there = np.flatnonzero(plane.any(axis=(1, 2)))
            masks = np.unpackbits(plane[there], axis=-1, count=self._width).view(np.bool_)
            shared = masks[:, np.count_nonzero(masks, axis=0) > 1].astype(np.float32)
            meet[np.ix_(there, there)] |= shared @ shared.T > 0
        return meet

    def layers(self) -> list[int]:
        """Layer of each label: the first one in which it shares no voxel with other labels."""
        meet = self.meeting()
        layers: list[int] = []
        for label in range(len(meet)):
            taken = {layer for other, layer in enumerate(layers) if meet[label, other]}
            layers.append(next(layer for layer in range(label + 1) if layer not in taken))
        return layers


def layered_image(masks: LabelMasks, values: Sequence[int], layers: Sequence[int], grid: Grid) -> sitk.Image:
    """An image whose components are the label maps of the layers; a plain label map for a single layer.

    Args:
        masks: Masks of the labels.
        values: Value of each label; unique within a layer.
        layers: Layer of each label; labels of one layer share no voxel.
        grid: Grid of the masks.
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
    """A 4D image with one 0/1 volume per label; 3D for a single label, as ITK reads 4D of one volume."""
    import SimpleITK as sitk

    volumes = [image_of(masks[number].view(np.uint8), grid) for number in range(len(masks))]
    return sitk.JoinSeries(volumes) if len(volumes) > 1 else volumes[0]
