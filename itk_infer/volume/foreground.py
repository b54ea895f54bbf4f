"""The foreground of an image by a rule of the model spec: mask, bounding box, and filling of holes."""

from __future__ import annotations

import numpy as np

from itk_infer.arrays import Array, like, namespace, to_host
from itk_infer.spec.model_spec import CropRule
from itk_infer.volume.box import Box
from itk_infer.volume.padding import Pads


def foreground(voxels: Array, rule: CropRule) -> Array:
    """Mask of voxels that are foreground in any channel.

    Args:
        voxels: (C, Z, Y, X), stored values.
        rule: Condition for foreground.

    Returns:
        (Z, Y, X) bool, on the same device.
    """
    mask = None
    for channel in voxels:
        here = channel != 0 if rule.to == "nonzero" else channel > rule.value
        mask = here if mask is None else mask.__ior__(here)
    return mask


def box_around(mask: Array, margin: int = 0) -> Box | None:
    """The smallest box that holds every true voxel of a mask (Z, Y, X), with a margin; None if there are none."""
    slices = []
    for axis, size in enumerate(mask.shape):
        occupied = occupied_along(mask, axis)
        if not len(occupied):
            return None
        slices.append(slice(max(0, int(occupied[0]) - margin), min(size, int(occupied[-1]) + 1 + margin)))
    return slices[0], slices[1], slices[2]


def grown_box(box: Box, size: tuple[int, int, int], rule: CropRule) -> tuple[Box, Pads]:
    """Extend a box by the margin of a rule, to a size with the rule's divisor.

    Args:
        box: Z, Y, X.
        size: Size of the array that contains the box, Z Y X.
        rule: Margin and divisor.

    Returns:
        The part inside the array, and the number of voxels by which the box exceeds it, before and after.
    """
    inside, beyond = [], []
    for side, voxels, multiple in zip(box, size, rule.multiple_of, strict=True):
        start, stop = side.start - rule.margin, side.stop + rule.margin
        if not rule.beyond:
            start, stop = max(0, start), min(voxels, stop)
        missing = -(stop - start) % multiple
        start, stop = start - missing // 2, stop + missing - missing // 2
        inside.append(slice(max(0, start), min(voxels, stop)))
        beyond.append((max(0, -start), max(0, stop - voxels)))
    return (inside[0], inside[1], inside[2]), (beyond[0], beyond[1], beyond[2])


def occupied_along(mask: Array, axis: int) -> np.ndarray:
    """Indices along an axis at which a mask (Z, Y, X) has any true voxel."""
    others = tuple(other for other in range(3) if other != axis)
    return np.flatnonzero(to_host(namespace(mask).any(mask, axis=others)))


def filled(mask: Array) -> Array:
    """The mask with its holes filled: background without a path of face neighbours to the outside.

    Equals `scipy.ndimage.binary_fill_holes`: all but the component of the background around the mask.
    """
    import SimpleITK as sitk

    background = np.pad(~to_host(mask), 1, constant_values=True)
    image = sitk.ConnectedComponent(sitk.GetImageFromArray(background.view(np.uint8)), False)
    components = sitk.GetArrayViewFromImage(image)  # the view is valid as long as the image
    return like(components[1:-1, 1:-1, 1:-1] != components[0, 0, 0], mask)
