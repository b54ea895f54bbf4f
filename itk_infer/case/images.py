"""Images of the Python API, in memory or on disk, as the volume of a case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from itk_infer.errors import InputError
from itk_infer.spec.series_rule import SeriesRule
from itk_infer.volume.names import is_picture, printable
from itk_infer.volume.picture_volume import picture_volume
from itk_infer.volume.pictures import picture_of, read_picture
from itk_infer.volume.read import read_volumes, volumes_in
from itk_infer.volume.volume import Channel, Volume, channel_of, volume_of_channels

if TYPE_CHECKING:
    import SimpleITK as sitk
    from numpy.typing import NDArray

    from itk_infer.volume.dicom.reading import SeriesVolume

    Image: TypeAlias = sitk.Image | str | Path | NDArray[Any]


def volume_of_images(
    image: Image | Sequence[Image], rules: Sequence[SeriesRule] = (), channels: int = 1
) -> tuple[Volume, tuple[str, ...]]:
    """Read images that are given as files, and join the channels; one picture may hold all of them.

    Args:
        image: A SimpleITK image, a file, the folder of a DICOM study, or a picture as an array, (Y, X) or
            (Y, X, C); a sequence of them, one per input channel.
        rules: Which series of a study to use, one rule per input channel; empty: the only series.
        channels: Input channels of the model; a single file may hold them as the volumes of a 4D image.

    Returns:
        The volume, and warnings about it.

    Raises:
        InputError: an image cannot be used.
    """
    parts = image if isinstance(image, list | tuple) else [image]
    if not parts:
        raise InputError("no image was given")
    if all(_is_picture(part) for part in parts):
        return _pictures(parts)
    found: list[Channel] = []
    names: list[str] = []
    warnings: list[str] = []
    for part in parts:
        if isinstance(part, str | Path) and Path(part).is_dir():
            series = _series(Path(part), rules[len(found)] if len(found) < len(rules) else None)
            names.append(printable(Path(part).name))
            found.append((series.array, series.grid))
            warnings += series.notes
        elif isinstance(part, str | Path):
            path = Path(part)
            several = channels if len(parts) == 1 and channels > 1 and volumes_in(path) > 1 else 1
            for number, read in enumerate(read_volumes(path, several)):
                found.append(read.channel)
                names.append(f"volume {number} of {printable(path.name)}" if several > 1 else printable(path.name))
                warnings += read.warnings
        elif hasattr(part, "GetDirection"):
            names.append(f"channel {len(found)}")
            found.append(channel_of(part, "the image"))
        else:
            raise InputError(f"a {type(part).__name__} is not an image: give a SimpleITK image or a path")
    volume = volume_of_channels(found, "the image", names)
    return volume, (*warnings, *volume.warnings)


def _is_picture(part: Any) -> bool:
    return isinstance(part, np.ndarray) or (isinstance(part, str | Path) and is_picture(Path(part).name))


def _pictures(parts: Sequence[Any]) -> tuple[Volume, tuple[str, ...]]:
    read = [picture_of(part) if isinstance(part, np.ndarray) else read_picture(Path(part)) for part in parts]
    names = [
        f"channel {number}" if isinstance(part, np.ndarray) else printable(Path(part).name)
        for number, part in enumerate(parts)
    ]
    return picture_volume(read, "the picture", names), tuple(note for one in read for note in one.notes)


def _series(folder: Path, rule: SeriesRule | None) -> SeriesVolume:
    """Read the series of a folder that a rule selects, or the only one."""
    from itk_infer.volume.dicom.choice import series_in
    from itk_infer.volume.dicom.reading import read_series

    try:
        return read_series(series_in(folder, rule))
    except InputError as error:
        raise InputError(f"{printable(folder)}: {error}") from None
