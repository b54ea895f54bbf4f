"""Images of the Python API, in memory or on disk, as the volume of a case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itk_infer.errors import InputError
from itk_infer.volume.names import printable
from itk_infer.volume.read import read_image
from itk_infer.volume.volume import Volume, volume_of

if TYPE_CHECKING:
    import SimpleITK as sitk


def volume_of_images(image: sitk.Image | str | Path | Sequence[Any]) -> tuple[Volume, tuple[str, ...]]:
    """Read what is not in memory, and put the channels together.

    Args:
        image: A SimpleITK image or a file; a sequence of them, one per input channel.

    Returns:
        The volume, and warnings about it.

    Raises:
        InputError: an image cannot be used.
    """
    parts = image if isinstance(image, list | tuple) else [image]
    if not parts:
        raise InputError("no image was given")
    images: list[sitk.Image] = []
    names: list[str] = []
    warnings: list[str] = []
    for part in parts:
        if isinstance(part, str | Path):
            read = read_image(Path(part))
            images.append(read.image)
            names.append(printable(Path(part).name))
            warnings += read.warnings
        elif hasattr(part, "GetDirection"):
            names.append(f"channel {len(images)}")
            images.append(part)
        else:
            raise InputError(f"a {type(part).__name__} is not an image: give a SimpleITK image or a path")
    volume = volume_of(images, "the image", names)
    return volume, (*warnings, *volume.warnings)
