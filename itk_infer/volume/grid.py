"""Where the voxels of a volume lie in the patient, and how arrays turn between orientations."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itk_infer.arrays import Array, namespace

OPPOSITE = dict(zip("LRAPSI", "RLPAIS", strict=True))


@dataclass(frozen=True, slots=True)
class Reorientation:
    """Axes permuted, then flipped; an exact, invertible relabelling of voxels.

    Attributes:
        axes: For each array axis (Z, Y, X) of the target: the source axis it is.
        flips: For each target axis: whether it runs backwards.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @property
    def inverse(self) -> Reorientation:
        """The way back."""
        axes = tuple(self.axes.index(axis) for axis in range(3))
        flips = tuple(self.flips[axis] for axis in axes)
        return Reorientation((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]))

    def apply(self, array: Array) -> Array:
        """`array`, shape (..., Z, Y, X), in the target's axis order; a view, in host memory."""
        xp, lead = namespace(array), array.ndim - 3
        turned = xp.permute_dims(array, (*range(lead), *(lead + axis for axis in self.axes)))
        backwards = tuple(lead + axis for axis in range(3) if self.flips[axis])
        return xp.flip(turned, axis=backwards) if backwards else turned


@dataclass(frozen=True, slots=True)
class Grid:
    """Size, spacing, origin and direction of a volume.

    Attributes:
        size: Voxels along Z, Y, X.
        spacing: Millimetres along Z, Y, X.
        origin_xyz: Centre of the first voxel in patient coordinates (LPS, mm), x first.
        direction_xyz: Row-major 3x3 direction cosines as SimpleITK gives them.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin_xyz: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction_xyz: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return math.prod(self.spacing) / 1000.0

    @property
    def orientation(self) -> str:
        """Code such as LPS, as ``SimpleITK.DICOMOrient`` understands it."""
        import SimpleITK as sitk

        code: str = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(self.direction_xyz)
        return code

    def reoriented(self, code: str | None) -> tuple[Grid, Reorientation]:
        """The same voxels in another orientation, and how an array gets there.

        Args:
            code: Target orientation such as ``"LPI"``; None keeps the axes as stored.
        """
        source = self.orientation
        target = source if code is None else code
        # Codes name x first, arrays have z first.
        axes_xyz, flips_xyz = [], []
        for letter in target:
            axis = next(i for i, other in enumerate(source) if other in (letter, OPPOSITE[letter]))
            axes_xyz.append(axis)
            flips_xyz.append(source[axis] != letter)
        reorientation = Reorientation(
            (2 - axes_xyz[2], 2 - axes_xyz[1], 2 - axes_xyz[0]),
            (flips_xyz[2], flips_xyz[1], flips_xyz[0]),
        )
        direction = np.reshape(self.direction_xyz, (3, 3))
        first = np.zeros(3)  # source index (x, y, z) of the target's first voxel
        for axis, flip in zip(axes_xyz, flips_xyz, strict=True):
            first[axis] = self.size[2 - axis] - 1 if flip else 0
        signs = np.where(flips_xyz, -1.0, 1.0)
        size = tuple(self.size[axis] for axis in reorientation.axes)
        spacing = tuple(self.spacing[axis] for axis in reorientation.axes)
        turned = Grid(
            (size[0], size[1], size[2]),
            (spacing[0], spacing[1], spacing[2]),
            self._point(first),
            tuple(float(value) + 0.0 for value in (direction[:, axes_xyz] * signs).ravel()),
        )
        return turned, reorientation

    def same_as(self, other: Grid, tolerance: float = 1e-3) -> bool:
        """Whether both grids put every voxel within `tolerance`, in voxels, of a voxel of the same place."""
        return self.size == other.size and self.distance(other) <= tolerance * min(self.spacing)

    def distance(self, other: Grid) -> float:
        """Millimetres between where both grids put a voxel, at most; they must be of one size."""
        corners = [np.array(corner) * (np.array(self.size[::-1]) - 1) for corner in np.ndindex(2, 2, 2)]
        return max(math.dist(self._point(corner), other._point(corner)) for corner in corners)

    def _point(self, index_xyz: NDArray[np.float64]) -> tuple[float, float, float]:
        direction = np.reshape(self.direction_xyz, (3, 3))
        x, y, z = np.asarray(self.origin_xyz) + direction @ (index_xyz * np.asarray(self.spacing[::-1]))
        return float(x), float(y), float(z)
