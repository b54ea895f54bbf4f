"""The grid of a series from the positions of its slices, with tolerances in terms of voxel displacement.

Only positions and orientations are used: slice thickness, slice location, instance numbers and the gantry tilt tag
often contradict them. Every refusal states the position and size of the fault.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import InputError
from itk_infer.spec.dicom_keywords import KEYWORDS
from itk_infer.volume.dicom.frames import Frame
from itk_infer.volume.grid import Grid

SAME_POSITION = 0.01  # mm
ORIENTATION_TOLERANCE = 1e-3  # difference of direction cosines between slices
MAX_TILT_DRIFT = 0.5  # pixels over the whole stack
MAX_SPACING_DRIFT = 0.1  # largest distance of a slice from the even grid, as a fraction of the spacing
REPORTED = 0.01  # mm
WHOLE = 0.1  # largest distance of a gap from a multiple of the spacing, as a fraction of it
AXES = "xyz"
# Attributes that may distinguish slices at the same position, and whether their values may appear in messages.
DIFFERENCES = {
    "EchoNumbers": True,
    "EchoTime": True,
    "InversionTime": True,
    "TemporalPositionIdentifier": True,
    "DiffusionBValue": True,
    "TriggerTime": True,
    "FlipAngle": True,
    "AcquisitionNumber": True,
    "ConvolutionKernel": True,
    "KVP": True,
    "ImageType": True,
    "AcquisitionTime": False,
    "ContentTime": False,
}


@dataclass(frozen=True, slots=True)
class Stack:
    """Slices in the order of the grid.

    Attributes:
        frames: Slices from the first to the last along the normal.
        grid: Grid of the volume; X along rows, Y along columns, Z along the normal.
        notes: Tolerated deviations, as sentences without a name.
        values: Meaning of its voxel values: ``stored``, in the units of the series, or ``SUVbw``.
    """

    frames: tuple[Frame, ...]
    grid: Grid
    notes: tuple[str, ...] = ()
    values: str = "stored"


def stack_of(frames: Sequence[Frame]) -> Stack:
    """Order slices along their normal.

    Args:
        frames: At least one; without localizers.

    Raises:
        InputError: they do not form a volume; the message does not begin with a name.
    """
    _check_given(frames)
    _check_equal(frames)
    if len(frames) == 1:
        raise InputError("it is a single slice, which is no volume; give the whole series")
    rows, columns = _axes(frames)
    normal = np.cross(rows, columns)
    normal /= np.linalg.norm(normal)
    positions = np.array([frame.position for frame in frames])
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    ordered = [frames[index] for index in order]
    positions, along = positions[order], along[order]
    gaps = np.diff(along)
    _check_distinct(ordered, gaps)
    spacing = ordered[0].spacing or (0.0, 0.0)
    notes = [
        *_check_tilt(positions, along, normal, min(spacing)),
        *_check_gaps(positions, along, gaps, normal),
        *_contradictions(ordered, gaps),
    ]
    step, start = _even_grid(along)
    origin = positions[0] + (start - along[0]) * normal
    direction = np.stack((rows, columns, normal), axis=1)
    first = ordered[0].file
    grid = Grid(
        (len(ordered), first.integer("Rows"), first.integer("Columns")),
        (step, spacing[0], spacing[1]),
        tuple(float(value) for value in origin),  # type: ignore[arg-type]
        tuple(float(value) + 0.0 for value in direction.ravel()),
    )
    return Stack(tuple(ordered), grid, tuple(notes))


def _even_grid(along: NDArray[np.float64]) -> tuple[float, float]:
    """Step and start (mm) of the even grid closest to the positions along the normal (least squares)."""
    index = np.arange(len(along)) - (len(along) - 1) / 2
    step = float(index @ along / (index @ index))
    return step, float(along.mean() - step * (len(along) - 1) / 2)


def _check_given(frames: Sequence[Frame]) -> None:
    for what, given in (
        ("position (ImagePositionPatient)", [frame.position for frame in frames]),
        ("orientation (ImageOrientationPatient)", [frame.orientation for frame in frames]),
        ("distance between pixels (PixelSpacing)", [frame.spacing for frame in frames]),
    ):
        missing = [frame for frame, value in zip(frames, given, strict=True) if value is None]
        if not missing:
            continue
        every = len(missing) == len(frames)
        count = "none of its slices has a" if every else f"{len(missing)} of its {len(frames)} slices without a"
        raise InputError(
            f"{count} valid {what}, the first is {missing[0].name}; export the series again, with all tags"
        )


def _check_equal(frames: Sequence[Frame]) -> None:
    for what, values in (
        ("numbers of rows and columns", [(f.file.integer("Rows"), f.file.integer("Columns")) for f in frames]),
        ("distances between pixels (PixelSpacing)", [f.spacing for f in frames]),
    ):
        kinds = sorted(set(values), key=values.count, reverse=True)  # type: ignore[arg-type]
        if len(kinds) > 1 and not np.allclose(kinds[0], kinds[1:], rtol=1e-4):  # type: ignore[arg-type]
            odd = frames[values.index(kinds[1])]  # type: ignore[arg-type]
            shown = " and ".join(" x ".join(f"{number:g}" for number in kind or ()) for kind in kinds[:2])
            raise InputError(f"its slices have different {what}: {shown}, the latter first in {odd.name}")
    spacing = frames[0].spacing or (0.0, 0.0)
    if min(spacing) <= 0:
        raise InputError(f"the PixelSpacing of {frames[0].name} is not positive; correct the header")
    reference = [frame.file.text("FrameOfReferenceUID") for frame in frames]
    odd_one = next((f for f, uid in zip(frames, reference, strict=True) if uid != reference[0]), None)
    if odd_one is not None:
        raise InputError(
            f"its slices have positions in different frames of reference (FrameOfReferenceUID), {odd_one.name} in "
            "another than the first; they do not fit together"
        )


def _axes(frames: Sequence[Frame]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean direction cosines of rows and columns, (3,) each."""
    given = np.array([frame.orientation for frame in frames], dtype=np.float64)
    middle = np.median(given, axis=0)
    off = np.abs(given - middle).max(axis=1)
    if off.max() > ORIENTATION_TOLERANCE:
        worst = int(off.argmax())
        cosine = float(np.clip(_normal(given[worst]) @ _normal(middle), -1, 1))
        count = int((off > ORIENTATION_TOLERANCE).sum())
        raise InputError(
            f"{count} of its slices {'is' if count == 1 else 'are'} oriented otherwise than most, by up to "
            f"{math.degrees(math.acos(cosine)):.3g} degrees ({frames[worst].name}); slices that are not parallel "
            "are no volume"
        )
    rows, columns = given.mean(axis=0).reshape(2, 3)
    lengths = np.linalg.norm(rows), np.linalg.norm(columns)
    if not all(abs(length - 1) < 0.01 for length in lengths) or abs(rows @ columns) > 0.01:
        raise InputError(
            "the directions of its rows and columns (ImageOrientationPatient) are not at right angles or not of "
            "length 1; correct the header"
        )
    rows = rows / lengths[0]
    columns = columns - (rows @ columns) * rows
    return rows, columns / np.linalg.norm(columns)


def _normal(orientation: NDArray[np.float64]) -> NDArray[np.float64]:
    normal = np.cross(orientation[:3], orientation[3:])
    length = np.linalg.norm(normal)
    return normal / length if length > 0 else normal


def _check_distinct(frames: Sequence[Frame], gaps: NDArray[np.float64]) -> None:
    same = np.flatnonzero(gaps < SAME_POSITION)
    if not len(same):
        return
    first = int(same[0])
    group = [frames[first]]
    for index in range(first, len(gaps)):
        if gaps[index] >= SAME_POSITION:
            break
        group.append(frames[index + 1])
    differing = list(_differences(group))
    how = "nothing tells them apart"
    if differing:
        how = f"they differ in {', '.join(differing)}; the instances of a rule for series can choose one kind"
    several = f", and so it is at {len(same) - len(group) + 1} more" if len(same) >= len(group) else ""
    raise InputError(f"{len(group)} slices lie at one position ({group[0].name}, {group[1].name}){several}; {how}")


def _differences(frames: Sequence[Frame]) -> list[str]:
    found = []
    for keyword, is_shown in DIFFERENCES.items():
        values = list(dict.fromkeys("\\".join(frame.values(keyword)) for frame in frames))
        if len(values) > 1:
            shown = " and ".join(value or "none" for value in values[:4])
            found.append(f"{keyword} ({shown})" if is_shown else keyword)
    return found


def _check_tilt(
    positions: NDArray[np.float64], along: NDArray[np.float64], normal: NDArray[np.float64], pixel: float
) -> list[str]:
    lateral = positions - positions[0] - np.outer(along - along[0], normal)
    drift = float(np.linalg.norm(lateral, axis=1).max())
    depth = along - along[0]
    slope = depth @ lateral / max(float(depth @ depth), 1e-12)  # slope of the line through the first slice
    angle = math.degrees(math.atan(float(np.linalg.norm(slope))))
    rest = float(np.linalg.norm(lateral - np.outer(depth, slope), axis=1).max())
    if drift > MAX_TILT_DRIFT * pixel:
        if rest > drift / 2:
            raise InputError(
                f"its slices do not lie above each other: they are shifted sideways by up to {drift:.3g} mm "
                "(skewed or moved); resample it to a regular grid"
            )
        raise InputError(
            f"its slices are tilted by {angle:.3g} degrees (gantry tilt, sheared): the farthest is {drift:.3g} mm "
            f"({drift / pixel:.2g} pixels) off a regular grid; correct the tilt first"
        )
    if drift > REPORTED:
        return [
            f"its slices are tilted by {angle:.2g} degrees, {drift:.2g} mm over the whole stack; taken as regular"
        ]
    return []


def _check_gaps(
    positions: NDArray[np.float64],
    along: NDArray[np.float64],
    gaps: NDArray[np.float64],
    normal: NDArray[np.float64],
) -> list[str]:
    step, start = _even_grid(along)
    drift = float(np.abs(along - start - step * np.arange(len(along))).max())
    if drift <= max(MAX_SPACING_DRIFT * step, SAME_POSITION):
        if drift > REPORTED:
            return [f"the spacing between its slices varies; on the even grid they are up to {drift:.2g} mm off"]
        return []
    due = float(np.median(gaps[gaps < 1.5 * gaps.min()]))
    multiples = np.rint(gaps / due)
    axis = int(np.abs(normal).argmax())
    wide = np.flatnonzero(multiples > 1)
    is_multiple = bool((np.abs(gaps / due - multiples) < WHOLE).all())
    if is_multiple and len(wide) <= max(1, len(gaps) // 4):
        places = [
            f"{AXES[axis]} = {positions[index][axis]:.6g} and {positions[index + 1][axis]:.6g} mm"
            for index in wide[:3]
        ]
        count = int((multiples - 1).sum())
        more = f" and {len(wide) - 3} more" if len(wide) > 3 else ""
        verb = "slice is" if count == 1 else "slices are"
        raise InputError(
            f"{count} {verb} missing: there is a gap between {', '.join(places)}{more}, where {due:.4g} mm are "
            "due; send the series again"
        )
    where = int(np.abs(np.diff(gaps)).argmax()) + 1 if len(gaps) > 1 else 0
    raise InputError(
        f"the spacing between its slices changes: it is {gaps.min():.4g} to {gaps.max():.4g} mm, and goes from "
        f"{gaps[where - 1]:.4g} to {gaps[where]:.4g} mm at {AXES[axis]} = {positions[where][axis]:.6g} mm; slices "
        f"would be up to {drift:.3g} mm off a regular grid: resample it to one"
    )


def _contradictions(frames: Sequence[Frame], gaps: NDArray[np.float64]) -> list[str]:
    step = float(np.median(gaps))
    try:
        said = abs(float(frames[0].values("SpacingBetweenSlices")[0]))
    except (IndexError, ValueError):
        return []
    if math.isfinite(said) and said > 0 and abs(said - step) > WHOLE * step:
        return [f"its tags say {said:g} mm between slices, its positions {step:.4g} mm; the positions are used"]
    return []


def plane_of(frame: Frame) -> str:
    """``axial``, ``sagittal``, ``coronal`` or ``oblique``, from the orientation; empty if it is absent."""
    if frame.orientation is None:
        return ""
    normal = np.abs(_normal(np.asarray(frame.orientation)))
    if normal.max() < 0.8:  # more than 37 degrees off every axis
        return "oblique"
    return ("sagittal", "coronal", "axial")[int(normal.argmax())]


def is_mosaic(frame: Frame) -> bool:
    """Whether a file is a mosaic of many slices, as Siemens writes functional series."""
    return "MOSAIC" in frame.file.values(KEYWORDS["ImageType"])
