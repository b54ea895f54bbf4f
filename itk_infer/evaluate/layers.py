"""Label maps as layers. Segmentations of 3D Slicer may have several, for labels that overlap; others have one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from itk_infer.errors import InputError
from itk_infer.evaluate.label_map import LabelMap, read_labels
from itk_infer.evaluate.label_match import NamedLabel
from itk_infer.evaluate.label_tables import nrrd_head, table_inside
from itk_infer.volume.names import printable
from itk_infer.volume.volume import grid_of

_FOUR_AXES = re.compile(r"^dimension: *4$", re.MULTILINE)
_SEGMENT = re.compile(r"^Segment(\d+)_(Name|LabelValue|Layer):=(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Layers:
    """A label map in layers.

    Attributes:
        maps: One per layer; values are unique over all layers.
        table: Label table inside the file; empty if there is none.
        layer_of: Layer of a value; for a value that does not occur, the first.
    """

    maps: tuple[LabelMap, ...]
    table: dict[int, NamedLabel]
    layer_of: dict[int, int]


def read_layers(path: Path) -> Layers:
    """Read a label map as layers.

    If two layers of a segmentation of 3D Slicer use the same value, its segments are renumbered.

    Raises:
        InputError: the file cannot be read, or holds values other than whole numbers from 0 to 65,535.
    """
    head = nrrd_head(path) if path.name.lower().endswith(".nrrd") else ""
    if not _FOUR_AXES.search(head):
        return Layers((read_labels(path),), table_inside(path), {})
    segments: dict[str, dict[str, str]] = {}
    for number, key, value in _SEGMENT.findall(head):
        segments.setdefault(number, {})[key] = value.strip()
    found = [
        (entry["Name"], int(entry["LabelValue"]), int(entry["Layer"]))
        for entry in segments.values()
        if len(entry) == 3 and entry["LabelValue"].isdecimal() and entry["Layer"].isdecimal()
    ]
    if not found:
        raise InputError(f"{printable(path.name)}: has four axes and no segments of 3D Slicer; it is no label map")
    return _layers(path, found)


def _layers(path: Path, segments: list[tuple[str, int, int]]) -> Layers:
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(f"{printable(path.name)}: cannot be read; is it damaged?") from error
    array, grid = np.atleast_3d(sitk.GetArrayFromImage(image)), grid_of(image)
    arrays = np.moveaxis(array, -1, 0) if array.ndim == 4 else array[None]
    values = [value for _, value, _ in segments]
    unique = len(set(values)) == len(values)
    stored = np.uint8 if len(values) < 256 and max(values) < 256 else np.uint16
    layers = [np.zeros(arrays.shape[1:], stored) for _ in arrays]
    table: dict[int, NamedLabel] = {}
    layer_of: dict[int, int] = {}
    for number, (name, value, layer) in enumerate(segments, 1):
        if layer >= len(layers):
            raise InputError(f"{printable(path.name)}: has no layer {layer}, in which {printable(name)} should be")
        own = value if unique else number
        layers[layer][arrays[layer] == value] = own
        table[own], layer_of[own] = NamedLabel(own, name), layer
    return Layers(tuple(LabelMap(one, grid) for one in layers), table, layer_of)
