"""Metrics of one label in one case, and their values for empty masks.

========================  =========  =================================================================
truth and mask            state      values
========================  =========  =================================================================
both have voxels          found      as measured
only the truth has some   missed     Dice, IoU, sensitivity, NSD 0; distances infinite; no precision
only the mask has some    false      Dice, IoU, precision, NSD 0; distances infinite; no sensitivity
                          alarm
both are empty            absent     none: not applicable, excluded from means
========================  =========  =================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["found", "missed", "false alarm", "absent"]
INFINITE = float("inf")
DEFINITION = (
    "surface elements of 2x2x2 neighbourhoods, weighted by area, image surrounded by background; "
    "HD95: larger of the two directed 95 % quantiles; NSD: share of both surfaces within the tolerance; "
    "ASSD: mean over both surfaces"
)
OPEN_BORDER = DEFINITION.replace("image surrounded by background", "without the elements at the image's border")
METRICS = {  # by attribute of `LabelScores`: title, unit
    "dice": ("Dice", ""),
    "iou": ("IoU", ""),
    "sensitivity": ("sensitivity", ""),
    "precision": ("precision", ""),
    "volume_error_ml": ("volume error", "ml"),
    "hd": ("HD", "mm"),
    "hd95": ("HD95", "mm"),
    "nsd": ("NSD", ""),
    "assd": ("ASSD", "mm"),
}
DISTANCES = ("hd", "hd95", "assd")


@dataclass(frozen=True, slots=True)
class LesionCounts:
    """Components of one label, matched one to one where their IoU is at least `lesions.MATCHED_IOU`.

    Attributes:
        truth: Number of components of the truth.
        mask: Number of components of the mask.
        matched: Number of matched pairs.
    """

    truth: int
    mask: int
    matched: int

    @property
    def sensitivity(self) -> float | None:
        """Share of the truth's components that are matched; None if it has none."""
        return self.matched / self.truth if self.truth else None

    @property
    def f1(self) -> float | None:
        """2 matched / (components of both)."""
        return 2 * self.matched / (self.truth + self.mask) if self.truth + self.mask else None


@dataclass(frozen=True, slots=True)
class LabelScores:
    """Metrics of one label in one case; None: not applicable.

    Attributes:
        name: Name of the label.
        mask_value: Value in the mask; None if only other cases have the label.
        truth_value: Value in the truth; None likewise.
        matched_by: Whether the values were matched by ``name`` or by ``value``.
        mask_ml: Volume in the mask, in ml.
        truth_ml: Volume in the truth, in ml.
        tolerance_mm: Tolerance of the NSD, in mm.
        dice: 2 |mask and truth| / (|mask| + |truth|), in voxels.
        iou: |mask and truth| / |mask or truth|.
        sensitivity: |mask and truth| / |truth|.
        precision: |mask and truth| / |mask|.
        hd: Hausdorff distance, see `surface.SurfaceDistances`, mm.
        hd95: 95 % Hausdorff distance, see there, mm.
        nsd: Share of both surfaces within `tolerance_mm`.
        assd: Average symmetric surface distance, see there, mm.
        lesions: Matched components; None if not requested.
    """

    name: str
    mask_value: int | None
    truth_value: int | None
    matched_by: str
    mask_ml: float
    truth_ml: float
    tolerance_mm: float
    dice: float | None
    iou: float | None
    sensitivity: float | None
    precision: float | None
    hd: float | None
    hd95: float | None
    nsd: float | None
    assd: float | None
    lesions: LesionCounts | None = None

    @property
    def state(self) -> State:
        """The row of the table above that applies."""
        if self.mask_ml and self.truth_ml:
            return "found"
        if self.truth_ml:
            return "missed"
        return "false alarm" if self.mask_ml else "absent"

    @property
    def volume_error_ml(self) -> float | None:
        """Volume of the mask minus that of the truth, in ml."""
        return None if self.state == "absent" else self.mask_ml - self.truth_ml

    @property
    def volume_error(self) -> float | None:
        """Relative volume error, (mask - truth) / truth."""
        return (self.mask_ml - self.truth_ml) / self.truth_ml if self.truth_ml else None


@dataclass(frozen=True, slots=True)
class CaseScores:
    """The metrics of one case.

    Attributes:
        name: Name of the case.
        labels: One entry per label of its two label tables.
        diagonal_mm: Diagonal of the image in mm; replaces infinite distances in penalised means.
        notes: Notes on the comparison, as sentences.
    """

    name: str
    labels: tuple[LabelScores, ...]
    diagonal_mm: float
    notes: tuple[str, ...] = ()


def absent(name: str, tolerance_mm: float) -> LabelScores:
    """The entry of a label that neither the mask nor the truth of a case has."""
    nothing = dict.fromkeys(name for name in METRICS if name != "volume_error_ml")
    return LabelScores(name, None, None, "", 0.0, 0.0, tolerance_mm, **nothing)


def completed(cases: list[CaseScores]) -> list[CaseScores]:
    """The same cases, each with an entry for every label that any of them has, in one order."""
    tolerances = {label.name: label.tolerance_mm for case in cases for label in case.labels}
    whole = []
    for case in cases:
        own = {label.name: label for label in case.labels}
        labels = tuple(own.get(name) or absent(name, tolerance) for name, tolerance in tolerances.items())
        whole.append(CaseScores(case.name, labels, case.diagonal_mm, case.notes))
    return whole
