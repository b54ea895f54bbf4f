"""Filling of holes, opening and closing of masks, with balls of radii in millimetres.

A voxel is inside a ball if its centre is. Outside of the image is background.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from itk_infer.volume.box import Box
from itk_infer.volume.components import components

Mask = NDArray[np.bool_]
TOLERANCE = 1e-5  # relative, of squared distances, which are float32 in SimpleITK and edt


def bounding_box(mask: Mask) -> Box | None:
    """The smallest box around a mask, (Z, Y, X); None if it is empty."""
    sides = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        there = np.flatnonzero(mask.any(axis=others))
        if not len(there):
            return None
        sides.append(slice(int(there[0]), int(there[-1]) + 1))
    return sides[0], sides[1], sides[2]


def holes(mask: Mask, axis: int | None = None) -> Mask:
    """The holes of a mask: background without a path of face neighbours to the edge of the array.

    Args:
        mask: (Z, Y, X); fastest if cropped to its bounding box.
        axis: Paths stay within planes across this axis; None: paths in 3D.
    """
    if axis is None:
        outside = (~mask).view(np.uint8)
        parts = components(outside, 6)
        enclosed = ~parts.at_border()
        parts.put(outside, ~enclosed, 0)
        return outside.view(np.bool_)
    turned = np.ascontiguousarray(np.moveaxis(~mask, axis, 0)).view(np.uint8)
    parts = components(turned, 4)
    parts.put(turned, parts.at_border_of_planes(), 0)
    return np.moveaxis(turned, 0, axis).view(np.bool_)


def within(mask: Mask, mm: float, spacing: Sequence[float]) -> Mask:
    """Voxels whose centre is at most `mm` away from the centre of a voxel of the mask.

    Args:
        mask: (Z, Y, X), with at least one voxel.
        mm: Distance in millimetres.
        spacing: Millimetres along Z, Y, X.
    """
    near: Mask = _squared_distance(mask, spacing) <= mm * mm * (1 + TOLERANCE)
    return near


def opened(mask: Mask, mm: float, spacing: Sequence[float]) -> Mask:
    """Opening with a ball: the union of all balls of radius `mm` inside the mask; same shape as the mask."""
    padded = np.pad(mask, 1)
    centres = ~within(~padded, mm, spacing)
    if not centres.any():
        return np.zeros_like(mask)
    return within(centres, mm, spacing)[1:-1, 1:-1, 1:-1]


def closed(mask: Mask, mm: float, spacing: Sequence[float]) -> Mask:
    """Closing with a ball: the complement of the union of all balls outside of the mask; same shape."""
    if not mask.any():
        return mask
    margins = [math.floor(mm / side * (1 + TOLERANCE)) + 1 for side in spacing]
    padded = np.pad(mask, [(margin, margin) for margin in margins])
    near = within(padded, mm, spacing)
    closing: Mask = ~within(~near, mm, spacing)
    inner = tuple(slice(margin, margin + size) for margin, size in zip(margins, mask.shape, strict=True))
    return closing[inner]


def _squared_distance(mask: Mask, spacing: Sequence[float]) -> NDArray[np.float32]:
    """Squared distance of each voxel to the mask, mm², float32.

    The package edt is used if installed: it is faster than SimpleITK, with the same results.
    """
    try:
        import edt
    except ImportError:
        import SimpleITK as sitk

        image = sitk.GetImageFromArray(mask.view(np.uint8))
        image.SetSpacing([float(side) for side in spacing[::-1]])
        distance = sitk.SignedMaurerDistanceMap(image, squaredDistance=True, useImageSpacing=True)
        squared: NDArray[np.float32] = sitk.GetArrayFromImage(distance)
        squared[mask] = 0  # SimpleITK's distances are negative inside the mask
        return squared
    result: NDArray[np.float32] = edt.edtsq(
        np.ascontiguousarray(~mask), anisotropy=tuple(float(side) for side in spacing), black_border=False
    )
    return result
