"""All metrics of all labels of a mask and its ground truth, on one grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.evaluate.label_match import LabelPair
from itk_infer.evaluate.lesions import lesion_counts
from itk_infer.evaluate.overlap import JointCounts
from itk_infer.evaluate.scores import INFINITE, LabelScores
from itk_infer.evaluate.surface import Box, SurfaceDistances, distances, surface_of

Labels = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, slots=True)
class MetricSettings:
    """Settings of the metrics.

    Attributes:
        tolerance_mm: Tolerance of the NSD in mm, for labels without their own.
        tolerances: Tolerances in mm by label name; take precedence over those of label tables.
        lesions: Whether to match connected components.
        open_border: Whether to leave out surface elements at the border of the image.
    """

    tolerance_mm: float = 2.0
    tolerances: tuple[tuple[str, float], ...] = ()
    lesions: bool = False
    open_border: bool = False

    def tolerance_of(self, pair: LabelPair) -> float:
        """The tolerance of a label in mm."""
        named = dict(self.tolerances).get(pair.name, pair.tolerance_mm)
        return self.tolerance_mm if named is None else named


def label_scores(
    mask: Labels,
    truth: Labels,
    counts: JointCounts,
    pairs: Sequence[LabelPair],
    spacing: tuple[float, float, float],
    settings: MetricSettings,
) -> list[LabelScores]:
    """Compute all metrics of every pair of labels.

    Args:
        mask: Label map, (Z, Y, X).
        truth: Label map on the same grid.
        counts: Joint histogram of both.
        pairs: Labels to measure.
        spacing: Millimetres along Z, Y, X.
        settings: Settings of the metrics.
    """
    boxes = _boxes(mask), _boxes(truth)
    found = []
    for pair in pairs:
        ours, theirs = boxes[0].get(pair.mask), boxes[1].get(pair.truth)
        tolerance = settings.tolerance_of(pair)
        surfaces = None
        lesions = None
        if ours is not None and theirs is not None:
            border = settings.open_border
            one = surface_of(mask, pair.mask, ours, spacing, open_border=border)
            other = surface_of(truth, pair.truth, theirs, spacing, open_border=border)
            if len(one.points) and len(other.points):
                surfaces = distances(one, other, tolerance)
            elif len(one.points) or len(other.points):
                surfaces = SurfaceDistances(INFINITE, INFINITE, 0.0, INFINITE)
        elif ours is not None or theirs is not None:
            surfaces = SurfaceDistances(INFINITE, INFINITE, 0.0, INFINITE)
        if settings.lesions:
            box = _union(ours, theirs)
            lesions = lesion_counts(mask[box] == pair.mask, truth[box] == pair.truth)
        sizes = (
            counts.in_mask(pair.mask),
            counts.in_truth(pair.truth),
            counts.common(pair.mask, pair.truth),
        )
        voxel_ml = math.prod(spacing) / 1000
        found.append(
            LabelScores(
                pair.name,
                pair.mask,
                pair.truth,
                pair.matched_by,
                sizes[0] * voxel_ml,
                sizes[1] * voxel_ml,
                tolerance,
                *_overlaps(*sizes),
                hd=surfaces.hd if surfaces else None,
                hd95=surfaces.hd95 if surfaces else None,
                nsd=surfaces.nsd if surfaces else None,
                assd=surfaces.assd if surfaces else None,
                lesions=lesions,
            )
        )
    return found


def _overlaps(mask: int, truth: int, common: int) -> tuple[float | None, float | None, float | None, float | None]:
    """Dice, IoU, sensitivity, precision."""
    return (
        2 * common / (mask + truth) if mask + truth else None,
        common / (mask + truth - common) if mask + truth else None,
        common / truth if truth else None,
        common / mask if mask else None,
    )


def _boxes(labels: Labels) -> dict[int, Box]:
    """Bounding box of each value, by value."""
    from scipy import ndimage

    found = enumerate(ndimage.find_objects(labels), 1)
    return {value: box for value, box in found if box is not None}


def _union(one: Box | None, other: Box | None) -> Box:
    boxes = [box for box in (one, other) if box is not None]
    if not boxes:
        return slice(0, 0), slice(0, 0), slice(0, 0)
    z, y, x = (
        slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes)) for axis in range(3)
    )
    return z, y, x
