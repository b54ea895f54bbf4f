"""The grid of a volume in patient coordinates, and the reorientation of arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itk_infer.arrays import Array, namespace

TOWARDS = ("LR", "PA", "SI")  # for each axis of the patient, the letters of a positive and a negative direction
OPPOSITE = dict(zip("LRAPSI", "RLPAIS", strict=True))


@dataclass(frozen=True, slots=True)
class Reorientation:
    """A permutation of axes, followed by flips: exact and invertible.

    Attributes:
        axes: For each array axis (Z, Y, X) of the target, the source axis.
        flips: For each target axis, whether it is flipped.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @property
    def inverse(self) -> Reorientation:
        """The reorientation back to the source."""
        axes = tuple(self.axes.index(axis) for axis in range(3))
        flips = tuple(self.flips[axis] for axis in axes)
        return Reorientation((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]))

    def apply(self, array: Array) -> Array:
        """`array`, shape (..., Z, Y, X), in the target's orientation; a view if it is a NumPy array."""
        xp, lead = namespace(array), array.ndim - 3
        permuted = xp.permute_dims(array, (*range(lead), *(lead + axis for axis in self.axes)))
        flipped = tuple(lead + axis for axis in range(3) if self.flips[axis])
        return xp.flip(permuted, axis=flipped) if flipped else permuted


UNCHANGED = Reorientation((0, 1, 2), (False, False, False))


@dataclass(frozen=True, slots=True)
class Grid:
    """Size, spacing, origin and direction of a volume.

    Attributes:
        size: Voxels along Z, Y, X.
        spacing: Millimetres along Z, Y, X.
        origin_xyz: Centre of the first voxel in patient coordinates (LPS, mm), x first.
        direction_xyz: Row-major 3x3 direction cosines as SimpleITK gives them.
        oriented: Whether its axes have directions in a patient; pictures have none, and are never reoriented.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin_xyz: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction_xyz: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    oriented: bool = True

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return math.prod(self.spacing) / 1000.0

    @property
    def orientation(self) -> str:
        """Orientation code such as LPS, as used by ``SimpleITK.DICOMOrient``.

        The largest direction cosine pairs an axis of the patient with one of the array, the largest of the other
        two axes the next, and so on; of equal ones it is the last.
        """
        direction = np.reshape(self.direction_xyz, (3, 3)).tolist()
        pairs = [(row, column) for row in range(3) for column in range(3)]
        letters = [""] * 3
        while pairs:
            row, column = max(reversed(pairs), key=lambda pair: abs(direction[pair[0]][pair[1]]))
            letters[column] = TOWARDS[row][direction[row][column] < 0]
            pairs = [pair for pair in pairs if pair[0] != row and pair[1] != column]
        return "".join(letters)

    def reoriented(self, code: str | None, axes: str = "zyx") -> tuple[Grid, Reorientation]:
        """The grid of the same voxels in another orientation, and the reorientation of arrays to it.

        Args:
            code: Target orientation such as ``"LPI"``; None keeps the axes as stored, and so does a grid that is
                not `oriented`.
            axes: Order of the target's array axes, in letters of the axes in orientation `code`.
        """
        source = self.orientation
        target = source if code is None or not self.oriented else code
        letter_of = dict(zip("xyz", target, strict=True))
        target = "".join(letter_of[axis] for axis in reversed(axes))
        # Codes begin with x, array axes with Z.
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
        reoriented = Grid(
            (size[0], size[1], size[2]),
            (spacing[0], spacing[1], spacing[2]),
            self._point(first),
            tuple(float(value) + 0.0 for value in (direction[:, axes_xyz] * signs).ravel()),
            self.oriented,
        )
        return reoriented, reorientation

    def same_as(self, other: Grid, tolerance: float = 1e-3) -> bool:
        """Whether sizes are equal and no voxel's positions on both grids differ by over `tolerance` voxels."""
        return self.size == other.size and self.distance(other) <= tolerance * min(self.spacing)

    def distance(self, other: Grid) -> float:
        """Largest distance between a voxel's positions on both grids, in mm; the grids must have equal sizes."""
        corners = [np.array(corner) * (np.array(self.size[::-1]) - 1) for corner in np.ndindex(2, 2, 2)]
        return max(math.dist(self._point(corner), other._point(corner)) for corner in corners)

    def _point(self, index_xyz: NDArray[np.float64]) -> tuple[float, float, float]:
        direction = np.reshape(self.direction_xyz, (3, 3))
        x, y, z = np.asarray(self.origin_xyz) + direction @ (index_xyz * np.asarray(self.spacing[::-1]))
        return float(x), float(y), float(z)
