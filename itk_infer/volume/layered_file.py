"""Files whose labels may overlap: segmentations of 3D Slicer, and files with one mask per label."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import InputError
from itk_infer.spec.labels import Label, default_color
from itk_infer.volume.grid import Grid
from itk_infer.volume.label_masks import LabelMasks, layered_image, stacked_image
from itk_infer.volume.names import printable
from itk_infer.volume.read import read_image, read_volumes, volumes_in
from itk_infer.volume.volume import grid_of
from itk_infer.volume.write import write_image

STACKED = "_channels.nii.gz"  # ending of this program's files with one mask per label
SEGMENTATION = ".seg.nrrd"
_SEGMENT = re.compile(r"Segment(\d+)_(\w+)")


@dataclass(frozen=True, slots=True)
class LayeredFile:
    """The content of such a file.

    Attributes:
        masks: One mask per label.
        table: The labels, in the order of the file; values are unique.
        grid: Grid of the masks.
        segments: Keys and values of each segment of a segmentation, by the segment's number, in the order of
            `table`; None for a file with one volume per label.
        keys: Other key/value pairs of its header.
    """

    masks: LabelMasks
    table: tuple[Label, ...]
    grid: Grid
    segments: Mapping[str, Mapping[str, str]] | None = None
    keys: Mapping[str, str] | None = None

    @property
    def one_layer(self) -> bool:
        """Whether it is a segmentation in which no labels overlap."""
        return self.segments is not None and len({segment["Layer"] for segment in self.segments.values()}) == 1


def is_layered(path: Path) -> bool:
    """Whether a file may hold overlapping labels, from its name and header."""
    name = path.name.lower()
    return name.endswith((SEGMENTATION, STACKED)) or volumes_in(path) > 1


def read_layered(path: Path, table: Sequence[Label]) -> LayeredFile:
    """Read a file of either kind.

    Args:
        path: The file.
        table: Labels of the volumes of a file with one mask per label, in their order; empty: numbers. A
            segmentation has its own.

    Raises:
        InputError: it is damaged, is not such a file, or the table has a different number of labels.
    """
    if path.name.lower().endswith(SEGMENTATION):
        return _segmentation(path)
    images = read_volumes(path, volumes_in(path))
    if table and len(table) != len(images):
        raise InputError(
            f"{printable(path.name)}: has {len(images)} volumes, and the label table {len(table)} labels; give "
            "the table of this file"
        )
    masks = LabelMasks(len(images), images[0].grid.size)
    for number, image in enumerate(images):
        array = image.array
        if not np.isin(array, (0, 1)).all():
            raise InputError(
                f"{printable(path.name)}: volume {number + 1} holds other values than 0 and 1; one mask per label "
                "is needed"
            )
        masks[number] = array != 0
    numbers = tuple(Label(n, f"label {n}", default_color(n), n - 1) for n in range(1, len(images) + 1))
    return LayeredFile(masks, tuple(table) or numbers, images[0].grid)


def write_layered(file: LayeredFile, path: Path, about: Mapping[str, str]) -> None:
    """Write a file of the same kind.

    Segments keep their layers, unless two labels of a layer overlap, which then get new ones.

    Args:
        file: The content.
        path: Its final path.
        about: Further keys for the header of a segmentation.

    Raises:
        OutputError: the file cannot be written.
    """
    if file.segments is None:
        write_image(stacked_image(file.masks, file.grid), path)
        return
    values = [label.value for label in file.table]
    layers = [int(segment["Layer"]) for segment in file.segments.values()]
    if _clash(file.masks, layers):
        layers = file.masks.layers()
    image = layered_image(file.masks, values, layers, file.grid)
    z, y, x = file.grid.size
    keys = dict(file.keys or {})
    for (number, segment), value, layer in zip(file.segments.items(), values, layers, strict=True):
        # Slicer crops a layer to the extent of its first segment, so the extent is that of the image.
        own = {"LabelValue": str(value), "Layer": str(layer), "Extent": f"0 {x - 1} 0 {y - 1} 0 {z - 1}"}
        keys |= {f"Segment{number}_{key}": text for key, text in {**segment, **own}.items()}
    for key, text in {**keys, **about}.items():
        image.SetMetaData(key, text)
    write_image(image, path)


def _clash(masks: LabelMasks, layers: Sequence[int]) -> bool:
    """Whether two labels of one layer share a voxel."""
    same = np.equal.outer(layers, layers) & ~np.eye(len(layers), dtype=bool)
    return bool((masks.meeting() & same).any())


def _segmentation(path: Path) -> LayeredFile:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        layered = reader.GetNumberOfComponents() > 1
        keys = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}
        image = reader.Execute() if layered else read_image(path).image
    except RuntimeError as error:
        raise InputError(f"{printable(path.name)}: cannot be read; is it damaged?") from error
    segments: dict[str, dict[str, str]] = {}
    for key in [key for key in keys if _SEGMENT.fullmatch(key)]:
        number, name = _SEGMENT.fullmatch(key).groups()  # type: ignore[union-attr]
        segments.setdefault(number, {"Layer": "0", "LabelValue": "1"})[name] = keys.pop(key)
    segments = dict(sorted(segments.items(), key=lambda item: int(item[0])))
    array = _array(image)
    return _of_segments(path, array if layered else array[..., None], grid_of(image), segments, keys)


def _of_segments(
    path: Path,
    array: NDArray[Any],
    grid: Grid,
    segments: dict[str, dict[str, str]],
    keys: Mapping[str, str],
) -> LayeredFile:
    """Masks from the layers of a segmentation, (Z, Y, X, L)."""
    places = [(each["Layer"], each["LabelValue"]) for each in segments.values()]
    if not places or not all(text.isdecimal() for place in places for text in place):
        raise InputError(f"{printable(path.name)}: has no segments of 3D Slicer in its header; is it one?")
    masks = LabelMasks(len(places), grid.size)
    known = np.zeros(array.shape[-1], int)
    for number, (layer, value) in enumerate((int(layer), int(value)) for layer, value in places):
        if layer >= array.shape[-1]:
            raise InputError(f"{printable(path.name)}: has no layer {layer}, in which a segment should be")
        masks[number] = array[..., layer] == value
        known[layer] += masks.voxels(number)
    if (known < np.count_nonzero(array, axis=(0, 1, 2))).any():
        raise InputError(f"{printable(path.name)}: holds values that belong to no segment, and would be lost")
    values = [int(value) for _, value in places]
    if len(set(values)) < len(values):  # two layers use the same value
        values = list(range(1, len(values) + 1))
    table = tuple(
        Label(value, segment.get("Name", f"label {value}"), default_color(value), number)
        for number, (value, segment) in enumerate(zip(values, segments.values(), strict=True))
    )
    return LayeredFile(masks, table, grid, segments, keys)


def _array(image: object) -> NDArray[Any]:
    import SimpleITK as sitk

    array: NDArray[Any] = sitk.GetArrayViewFromImage(image)
    return array
