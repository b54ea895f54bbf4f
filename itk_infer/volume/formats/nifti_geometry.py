"""The grid of a NIfTI header: qform, sform and pixdim, and which of them is used.

The choice is that of ITK 5.4 without environment variables (``ITK_NIFTI_SFORM_PERMISSIVE`` changes it). Numbers
are rounded where ITK rounds them, so that they are equal to ITK's.
"""

from __future__ import annotations

import itertools
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import InputError
from itk_infer.volume.formats.layout import check_spacing
from itk_infer.volume.grid import Grid
from itk_infer.volume.names import printable
from itk_infer.volume.right_angles import ORTHONORMAL_TOLERANCE

NOTICEABLE = 0.5  # voxels; larger differences between forms give a warning
SIMILAR = 1e-4  # largest difference at which ITK treats qform and sform as equal, in the header's units
SCANNER = 1  # NIFTI_XFORM_SCANNER_ANAT: the form gives scanner coordinates
UNITS = {1: 1000.0, 2: 1.0, 3: 0.001}  # millimetres


def header_grid(path: Path, header: bytes, order: str, size: tuple[int, int, int]) -> tuple[Grid, tuple[str, ...]]:
    """The grid, whose axes need not be at right angles, and ambiguities of the header as warnings.

    Args:
        path: The image.
        header: Its first 348 bytes.
        order: Byte order, ``<`` or ``>``.
        size: Voxels along Z, Y, X.

    Raises:
        InputError: a form in use has numbers that are not finite, or an axis of length zero.
    """
    name, unit = printable(path.name), UNITS.get(header[123] & 7, 1.0)
    pixdim = np.array(struct.unpack_from(order + "3f", header, 80), dtype=np.float64)
    check_spacing(path, (pixdim * unit).tolist())
    qform_code, sform_code = struct.unpack_from(order + "2h", header, 252)
    sform = np.array(struct.unpack_from(order + "12f", header, 280), dtype=np.float64).reshape(3, 4)
    forms = _Forms(qform_code, sform_code, pixdim, _qform(header, order, pixdim), sform, unit)
    if forms.qform_code <= 0 and forms.sform_code <= 0:
        return forms.grid(size, None), ("stores no orientation; its axes are taken as they are",)
    forms.check_numbers(name)
    if forms.sform_code <= 0:
        return forms.grid(size, forms.qform), ()
    warnings = forms.size_warnings(size)
    if forms.qform_code <= 0:
        return forms.grid(size, forms.sform), warnings
    used = "sform" if forms.sform_counts else "qform"
    apart = forms.apart(size)
    if apart > NOTICEABLE * forms.pixdim.min():
        warnings += (f"qform and sform disagree by up to {apart * forms.unit:.3g} mm; the {used} is taken",)
    return forms.grid(size, forms.sform if forms.sform_counts else forms.qform), warnings


@dataclass(frozen=True, slots=True)
class _Forms:
    """The geometry in a header, in its own unit of length, RAS.

    Attributes:
        qform_code: Coordinate system of the qform; 0: there is none.
        sform_code: Coordinate system of the sform; 0: there is none.
        pixdim: Spacing along x, y, z.
        qform: Affine (3, 4), scaled by `pixdim`.
        sform: Affine (3, 4).
        unit: Millimetres per unit of length.
    """

    qform_code: int
    sform_code: int
    pixdim: NDArray[np.float64]
    qform: NDArray[np.float64]
    sform: NDArray[np.float64]
    unit: float

    @property
    def sform_counts(self) -> bool:
        """Whether the sform is used where there are both.

        As in ITK, an sform with right angles is used if it gives scanner coordinates or equals the qform, because
        its numbers are more exact; otherwise the qform is used. Unlike in ITK, a sheared sform in the coordinate
        system of the qform is used: the voxels lie on a sheared grid, which a qform cannot express. And the forms
        are compared by their numbers, not by their singular vectors, which are arbitrary for cubic voxels.
        """
        axes = self.sform[:, :3] / np.linalg.norm(self.sform[:, :3], axis=0)
        if not np.allclose(axes @ axes.T, np.eye(3), rtol=0, atol=ORTHONORMAL_TOLERANCE):
            return self.sform_code in (self.qform_code, SCANNER)
        alike = bool(np.allclose(self.sform, self.qform, rtol=0, atol=SIMILAR))
        return self.sform_code == SCANNER or alike

    def check_numbers(self, name: str) -> None:
        """Raise InputError unless the forms in use are finite, with axes of non-zero length."""
        used = [form for form, code in ((self.qform, self.qform_code), (self.sform, self.sform_code)) if code > 0]
        if not all(np.isfinite(form).all() for form in used):
            raise InputError(f"{name}: its orientation holds NaN or infinity; correct the header")
        if self.sform_code > 0 and not np.linalg.norm(self.sform[:, :3], axis=0).all():
            raise InputError(f"{name}: its sform has an axis of no length; correct the header")

    def size_warnings(self, size: tuple[int, int, int]) -> tuple[str, ...]:
        """A warning where the voxel sizes of sform and pixdim differ."""
        scales = np.linalg.norm(self.sform[:, :3], axis=0)
        if (np.abs(scales - self.pixdim) * size[::-1] <= NOTICEABLE * self.pixdim.min()).all():
            return ()
        return (
            f"sform and pixdim give different voxel sizes ({_triplet(scales * self.unit)} and "
            f"{_triplet(self.pixdim * self.unit)} mm, x first); pixdim is taken",
        )

    def apart(self, size: tuple[int, int, int]) -> float:
        """Largest distance between a voxel's positions by sform and by qform, in the header's unit of length."""
        axes = self.sform[:, :3] / np.linalg.norm(self.sform[:, :3], axis=0) * self.pixdim
        corners = np.array([(*corner, 1) for corner in itertools.product(*((0, n - 1) for n in size[::-1]))])
        difference = corners @ (np.column_stack([axes, self.sform[:, 3]]) - self.qform).T
        return float(np.linalg.norm(difference, axis=1).max())

    def grid(self, size: tuple[int, int, int], form: NDArray[np.float64] | None) -> Grid:
        """The grid given by a form, or by pixdim alone if `form` is None; LPS and millimetres."""
        x, y, z = (float(value) * self.unit for value in self.pixdim)
        if form is None:
            return Grid(size, (z, y, x))
        lps = form * [[-1], [-1], [1]]
        axes = [_unit_vector(lps[:, axis]) for axis in range(3)]
        ox, oy, oz = (float(value) * self.unit + 0.0 for value in lps[:, 3])
        return Grid(size, (z, y, x), (ox, oy, oz), tuple(axes[j][i] for i in range(3) for j in range(3)))


def _qform(header: bytes, order: str, spacing: NDArray[np.float64]) -> NDArray[Any]:
    """The affine (3, 4) of the quaternion, method 2 of nifti1.h, in single precision as in nifti_clib."""
    b, c, d, *offset = struct.unpack_from(order + "6f", header, 256)
    (handedness,) = struct.unpack_from(order + "f", header, 76)
    squares = b * b + c * c + d * d
    a = 1.0 - squares
    if a < 1e-7:  # a rotation by 180 degrees
        norm = math.sqrt(squares)
        a, b, c, d = 0.0, b / norm, c / norm, d / norm
    else:
        a = math.sqrt(a)
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    scales = spacing * (1, 1, -1 if handedness < 0 else 1)
    return np.column_stack([rotation * scales, offset]).astype(np.float32).astype(np.float64)


def _unit_vector(vector: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = map(float, vector)
    length = math.sqrt(x * x + y * y + z * z)
    return x / length + 0.0, y / length + 0.0, z / length + 0.0


def _triplet(values: NDArray[np.float64]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)
