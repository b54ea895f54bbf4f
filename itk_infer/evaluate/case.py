"""One mask against its truth, from their files to their scores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import InputError
from itk_infer.evaluate.label_match import NamedLabel, match_labels
from itk_infer.evaluate.label_tables import table_inside
from itk_infer.evaluate.metrics import MetricSettings, label_scores
from itk_infer.evaluate.overlap import joint_counts
from itk_infer.evaluate.pairs import Pair
from itk_infer.evaluate.scores import CaseScores
from itk_infer.volume.grid import Grid
from itk_infer.volume.read import read_image
from itk_infer.volume.same_grid import check_same_grid
from itk_infer.volume.volume import image_of, volume_of

if TYPE_CHECKING:
    from pathlib import Path

Labels = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, slots=True)
class CaseTask:
    """What a worker gets.

    Attributes:
        pair: The two files.
        mask_table: Label table of the masks, above which is one inside the file.
        truth_table: Of the truths.
        settings: How they are compared.
        resample: Whether a mask on another grid is taken to that of the truth, nearest neighbour.
    """

    pair: Pair
    mask_table: tuple[NamedLabel, ...]
    truth_table: tuple[NamedLabel, ...]
    settings: MetricSettings
    resample: bool = False


@dataclass(frozen=True, slots=True)
class LabelMap:
    """A label map in memory.

    Attributes:
        array: Values, (Z, Y, X), uint8 or uint16.
        grid: Its grid.
        warnings: What was noticed while it was read.
    """

    array: Labels
    grid: Grid
    warnings: tuple[str, ...] = ()


def evaluate_case(task: CaseTask) -> CaseScores:
    """Read, align and compare one pair.

    Raises:
        InputError: a file cannot be read or holds no labels, or the grids differ.
    """
    pair = task.pair
    truth = read_labels(pair.truth)
    mask, notes = aligned(
        pair.name, ("the mask", read_labels(pair.mask)), ("the truth", truth.grid), task.resample
    )
    counts = joint_counts(mask, truth.array)
    mask_table = table_inside(pair.mask) or {label.value: label for label in task.mask_table}
    truth_table = table_inside(pair.truth) or {label.value: label for label in task.truth_table}
    pairs, left = match_labels(mask_table, truth_table, counts.mask_values, counts.truth_values)
    scores = label_scores(mask, truth.array, counts, pairs, truth.grid.spacing, task.settings)
    extent = (size * step for size, step in zip(truth.grid.size, truth.grid.spacing, strict=True))
    return CaseScores(pair.name, tuple(scores), math.hypot(*extent), (*truth.warnings, *notes, *left))


def read_labels(path: Path) -> LabelMap:
    """Read a label map.

    Raises:
        InputError: it cannot be read, or holds values other than whole numbers from 0 to 65,535.
    """
    read = read_image(path)
    volume = volume_of([read.image], path.name)
    array = volume.array[0]
    low, high = array.min(initial=0), array.max(initial=0)
    if low < 0 or high > 65535:
        raise InputError(f"{path.name}: holds values from {low:g} to {high:g}; labels lie between 0 and 65535")
    whole = array.astype(np.uint8 if high <= 255 else np.uint16)
    if array.dtype.kind == "f" and not np.array_equal(whole, array):
        raise InputError(f"{path.name}: holds fractions; a label map has whole numbers only")
    return LabelMap(whole, volume.grid, (*read.warnings, *volume.warnings))


def aligned(
    case: str, labels: tuple[str, LabelMap], target: tuple[str, Grid], resample: bool = False
) -> tuple[Labels, list[str]]:
    """The voxels of a label map on another grid, and what should be known of it.

    Axes are permuted and flipped freely, which moves no voxel.

    Args:
        case: Name in messages.
        labels: What the label map is called in messages, and the label map.
        target: What the other image is called, and its grid.
        resample: Whether a label map that lies elsewhere is resampled, nearest neighbour, 0 outside.

    Raises:
        InputError: the grids differ, and `resample` is not set.
    """
    (name, label_map), (target_name, target_grid) = labels, target
    grid, reorientation = label_map.grid.reoriented(target_grid.orientation)
    array = np.ascontiguousarray(reorientation.apply(label_map.array))
    try:
        warning = check_same_grid(case, (name, grid), target)
        return array, [*label_map.warnings, *([warning] if warning else [])]
    except InputError:
        if not resample:
            raise
    note = f"{name} lay on another grid and was resampled to that of {target_name}, nearest neighbour"
    return _resampled(array, grid, target_grid), [*label_map.warnings, note]


def _resampled(array: Labels, grid: Grid, target_grid: Grid) -> Labels:
    import SimpleITK as sitk

    target = image_of(np.zeros(target_grid.size, array.dtype), target_grid)
    image = sitk.Resample(image_of(array, grid), target, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    resampled: Labels = sitk.GetArrayFromImage(image)
    return resampled
