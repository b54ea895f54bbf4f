"""The foreground of an image by a rule of the model spec: its mask, the box around it, its holes filled."""

from __future__ import annotations

import numpy as np

from itk_infer.arrays import Array, like, namespace, to_host
from itk_infer.spec.model_spec import CropRule
from itk_infer.volume.box import Box


def foreground(voxels: Array, rule: CropRule) -> Array:
    """Voxels of which any channel is foreground.

    Args:
        voxels: (C, Z, Y, X), stored values.
        rule: What foreground is.

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


def occupied_along(mask: Array, axis: int) -> np.ndarray:
    """Indices along an axis at which a mask (Z, Y, X) has any true voxel."""
    others = tuple(other for other in range(3) if other != axis)
    return np.flatnonzero(to_host(namespace(mask).any(mask, axis=others)))


def filled(mask: Array) -> Array:
    """The mask with its holes: background that no path of face neighbours connects with the outside.

    Equals `scipy.ndimage.binary_fill_holes`: all but the component of the background around the mask.
    """
    import SimpleITK as sitk

    background = np.pad(~to_host(mask), 1, constant_values=True)
    image = sitk.ConnectedComponent(sitk.GetImageFromArray(background.view(np.uint8)), False)
    components = sitk.GetArrayViewFromImage(image)  # valid as long as the image is
    return like(components[1:-1, 1:-1, 1:-1] != components[0, 0, 0], mask)
