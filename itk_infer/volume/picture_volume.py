"""Pictures as volumes: pages are planes along Z; axes have no direction in a patient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from itk_infer.errors import InputError
from itk_infer.volume.grid import Grid
from itk_infer.volume.pictures import Picture
from itk_infer.volume.volume import Volume


def picture_volume(pictures: Sequence[Picture], name: str, names: Sequence[str]) -> Volume:
    """A volume of one picture with all its channels, or of several pictures that are its channels.

    Args:
        pictures: One picture, or one per channel.
        name: Name of the volume in messages.
        names: Names of the pictures in messages.

    Raises:
        InputError: pictures for several channels differ in size, or have several channels themselves.
    """
    first = pictures[0]
    for picture, called in zip(pictures, names, strict=True):
        if len(pictures) > 1 and picture.pages.shape[-1] > 1:
            raise InputError(
                f"{name}: {called} holds {picture.pages.shape[-1]} channels, and stands for one; save it as a "
                "grey picture"
            )
        if picture.pages.shape[:-1] != first.pages.shape[:-1]:
            z, y, x = picture.pages.shape[:-1]
            raise InputError(
                f"{name}: {called} has {z} x {y} x {x} pixels (Z Y X), and {names[0]} has "
                f"{' x '.join(map(str, first.pages.shape[:-1]))}; channels must lie on the same pixels"
            )
    array = np.concatenate([np.moveaxis(picture.pages, -1, 0) for picture in pictures])
    pages, height, width = first.pages.shape[:-1]
    grid = Grid((pages, height, width), first.spacing, oriented=False)
    return Volume(np.ascontiguousarray(array), grid, name)
