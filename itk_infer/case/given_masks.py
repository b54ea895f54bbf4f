"""Label maps of a cascade's first stage that exist already, one per case."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from itk_infer.errors import InputError
from itk_infer.outputs.registry import label_maps
from itk_infer.volume.grid import Reorientation
from itk_infer.volume.names import split_suffix
from itk_infer.volume.read import read_image
from itk_infer.volume.slab import LabelArray
from itk_infer.volume.volume import Volume, volume_of_channels


def given_mask(folder: Path, volume: Volume, reorientation: Reorientation) -> LabelArray:
    """Read the first stage's label map of a case.

    Args:
        folder: Holds a file with the case's name and any readable suffix, in the same sub-folder as the case.
        volume: The case's image.
        reorientation: From the stored axes to the model's.

    Returns:
        (Z, Y, X) in the model's orientation.

    Raises:
        InputError: there is not exactly one, it is on another grid, or its values are not label values.
    """
    name = PurePosixPath(volume.name)
    stem = split_suffix(name.name)[0]
    place = folder / name.parent
    there = sorted(place.iterdir()) if place.is_dir() else []
    alike = label_maps(path.name for path in there if split_suffix(path.name)[0] == stem)
    found = [place / name for name in alike]
    if len(found) != 1:
        what = f"there are {len(found)}" if found else "there is none"
        raise InputError(
            f"{volume.name}: the folder of the first stage's label maps needs one named {stem}, and {what}; "
            "run the first stage on this case, or leave `previous_stage` out"
        )
    mask = volume_of_channels([read_image(found[0]).channel], found[0].name)
    if not mask.grid.same_as(volume.grid):
        raise InputError(f"{volume.name}: the first stage's label map lies on another grid than the image")
    labels = mask.array[0]
    if labels.min() < 0 or labels.max() > 65535 or (labels != np.round(labels)).any():
        raise InputError(
            f"{volume.name}: the first stage's label map has values that are not whole numbers from 0 to 65535"
        )
    turned: LabelArray = reorientation.apply(labels).astype(np.uint16)
    return turned
