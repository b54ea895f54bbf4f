"""A case for display: in LPS, with grey values in a window, and the planes with most voxels of labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.outputs.drawing.planes import Cut, cut
from itk_infer.outputs.sink import FinishedCase
from itk_infer.spec import Label
from itk_infer.volume.grid import Grid

Plane = tuple[int, int]  # axis and index


@dataclass(frozen=True, slots=True)
class SeenCase:
    """A case in LPS: axial planes have the patient's right on the left and anterior on top.

    Attributes:
        grey: The image, 0 to 255, (Z, Y, X).
        labels: Label values, (Z, Y, X).
        grid: Grid of the voxels, in LPS.
        present: Labels of the table that have voxels.
        uncertainty: Uncertainty of the voxels, 0 to 250, (Z, Y, X); None if it is not known.
    """

    grey: NDArray[np.uint8]
    labels: NDArray[Any]
    grid: Grid
    present: tuple[Label, ...]
    uncertainty: NDArray[np.uint8] | None = None

    @property
    def axes(self) -> list[int]:
        """Axes whose planes are more than a line: 0 axial, 1 coronal, 2 sagittal; at least one."""
        shape = self.labels.shape
        return [axis for axis in range(3) if all(shape[other] > 1 for other in {0, 1, 2} - {axis})] or [0]

    def largest_section(self, axis: int, values: set[int] | None = None) -> Plane:
        """The plane perpendicular to an axis with most voxels of labels; the middle one if there are none.

        Args:
            axis: The axis.
            values: Values of the labels; None: all.
        """
        mask = self.labels != 0 if values is None else np.isin(self.labels, sorted(values))
        counts = np.count_nonzero(mask, axis=tuple({0, 1, 2} - {axis}))
        return axis, int(counts.argmax()) if counts.any() else self.labels.shape[axis] // 2

    def cut(self, plane: Plane, around: NDArray[np.bool_] | None = None) -> Cut:
        """See `planes.cut`."""
        return cut(self.grey, self.labels, self.grid.spacing, *plane, self.uncertainty, around)

    def position(self, plane: Cut) -> str:
        """Position of a plane's centre along its axis, in mm, after the letter of the side."""
        middle = [(size - 1) / 2 for size in self.grid.size]
        middle[plane.axis] = plane.index
        direction = np.reshape(self.grid.direction_xyz, (3, 3))
        offset = direction @ (np.asarray(middle[::-1]) * np.asarray(self.grid.spacing[::-1]))
        value = float((np.asarray(self.grid.origin_xyz) + offset)[2 - plane.axis])
        side = ("SI", "PA", "LR")[plane.axis][value < 0]
        return f"{side} {abs(value):.0f} mm"


def seen(case: FinishedCase) -> SeenCase:
    """Prepare a case for display.

    Args:
        case: The case, with its image, whose first channel is shown.
    """
    image = case.header.image
    if image is None:
        raise RuntimeError("a picture was to be drawn, and the case came without its image")
    grid, to_lps = image.grid.reoriented("LPS")
    _, labels_to_lps = case.header.grid.reoriented("LPS")
    voxels, labels = to_lps.apply(image.array[0]), labels_to_lps.apply(case.labels)
    found = set(np.unique(labels).tolist())
    present = tuple(label for label in case.header.labels if label.value in found)
    uncertainty = None if case.uncertainty is None else labels_to_lps.apply(case.uncertainty)
    return SeenCase(_grey(voxels), labels, grid, present, uncertainty)


def _grey(voxels: NDArray[Any]) -> NDArray[np.uint8]:
    """Intensities from the 1st to the 99.7th percentile as 0 to 255."""
    # Percentiles are those of a sample: all voxels would take longer than the drawing.
    step = [max(1, size // 96) for size in voxels.shape]
    sample = voxels[:: step[0], :: step[1], :: step[2]]
    low, high = (float(value) for value in np.percentile(sample, (1, 99.7)))
    if high <= low:
        low, high = float(sample.min()), float(sample.max())
    width = max(high - low, 1e-9)
    grey = np.empty(voxels.shape, np.uint8)
    for plane, target in zip(voxels, grey, strict=True):
        target[...] = np.clip((plane.astype(np.float32) - low) * (255 / width), 0, 255)
    return grey
