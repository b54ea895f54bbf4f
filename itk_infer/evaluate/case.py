"""Comparison of one mask with its ground truth, from files to scores."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from itk_infer.errors import InputError
from itk_infer.evaluate.label_map import LabelMap, Labels
from itk_infer.evaluate.label_match import LabelPair, NamedLabel, match_labels
from itk_infer.evaluate.layers import read_layers
from itk_infer.evaluate.metrics import MetricSettings, label_scores
from itk_infer.evaluate.overlap import JointCounts, joint_counts
from itk_infer.evaluate.pairs import Pair
from itk_infer.evaluate.scores import CaseScores, LabelScores
from itk_infer.volume.grid import Grid
from itk_infer.volume.same_grid import check_same_grid
from itk_infer.volume.volume import image_of


@dataclass(frozen=True, slots=True)
class CaseTask:
    """The input of a worker: one pair of files, and how to compare them.

    Attributes:
        pair: The two files.
        mask_table: Label table of the masks; takes precedence over one inside the file.
        truth_table: Label table of the ground truth; likewise.
        settings: Settings of the metrics.
        resample: Whether a mask on another grid is resampled to that of the ground truth, with nearest neighbour.
    """

    pair: Pair
    mask_table: tuple[NamedLabel, ...]
    truth_table: tuple[NamedLabel, ...]
    settings: MetricSettings
    resample: bool = False


def evaluate_case(task: CaseTask) -> CaseScores:
    """Read, align and compare one pair.

    Raises:
        InputError: a file cannot be read or holds no labels, or the grids differ.
    """
    pair = task.pair
    truth, mask = read_layers(pair.truth), read_layers(pair.mask)
    truths = [label_map.array for label_map in truth.maps]
    grid = truth.maps[0].grid
    masks, notes = [], list(truth.maps[0].warnings)
    for label_map in mask.maps:
        array, more = aligned(pair.name, ("the mask", label_map), ("the truth", grid), task.resample)
        masks.append(array)
        notes += [note for note in more if note not in notes]
    counted: dict[tuple[int, int], JointCounts] = {}

    def counts(ours: int, theirs: int) -> JointCounts:
        if (ours, theirs) not in counted:
            counted[ours, theirs] = joint_counts(masks[ours], truths[theirs])
        return counted[ours, theirs]

    pairs, left = match_labels(
        mask.table or {label.value: label for label in task.mask_table},
        truth.table or {label.value: label for label in task.truth_table},
        {value for ours in range(len(masks)) for value in counts(ours, 0).mask_values},
        {value for theirs in range(len(truths)) for value in counts(0, theirs).truth_values},
    )
    in_layers: dict[tuple[int, int], list[LabelPair]] = defaultdict(list)
    for each in pairs:
        in_layers[mask.layer_of.get(each.mask, 0), truth.layer_of.get(each.truth, 0)].append(each)
    scores: dict[LabelPair, LabelScores] = {}
    for (ours, theirs), own in in_layers.items():
        arrays = masks[ours], truths[theirs]
        found = label_scores(*arrays, counts(ours, theirs), own, grid.spacing, task.settings)
        scores |= dict(zip(own, found, strict=True))
    extent = (size * step for size, step in zip(grid.size, grid.spacing, strict=True))
    return CaseScores(pair.name, tuple(scores[each] for each in pairs), math.hypot(*extent), (*notes, *left))


def aligned(
    case: str, labels: tuple[str, LabelMap], target: tuple[str, Grid], resample: bool = False
) -> tuple[Labels, list[str]]:
    """Bring the voxels of a label map onto another grid.

    Axes are permuted and flipped where that suffices; no voxel changes.

    Args:
        case: Name of the case, for messages.
        labels: Name of the label map in messages, and the label map.
        target: Name of the other image in messages, and its grid.
        resample: Whether a label map on another grid is resampled, with nearest neighbour, 0 outside.

    Returns:
        The voxels, (Z, Y, X), and notes for the user.

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
