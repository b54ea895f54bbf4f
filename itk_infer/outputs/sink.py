"""The interfaces of outputs of a case: `Sink` takes slabs, `CaseOutput` the finished label map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from itk_infer.spec import Label
from itk_infer.volume.grid import Grid, Reorientation
from itk_infer.volume.label_masks import LabelMasks
from itk_infer.volume.slab import DecidedSlab, LabelArray
from itk_infer.volume.volume import Volume

if TYPE_CHECKING:
    from itk_infer.volume.dicom.geometry import Stack


@dataclass(frozen=True, slots=True)
class OutputHeader:
    """The properties of a case that its outputs need.

    Attributes:
        grid: Grid of the file to write.
        reorientation: From the slabs' axes (the model's orientation) to the file's.
        slab_size: Size Z, Y, X of the whole case in the slabs' axes.
        labels: The label table.
        channels: Output channels of the network.
        about: Model name, version and similar, for files that can store it.
        track: Whether an intent is written before each file gets its name; the run removes it after recording the
            file in the ledger.
        overlaps: Whether a voxel may have several labels.
        image: The case's image as stored, for outputs that need it; else None.
        picture_style: How pictures are drawn.
        source: The slices of the case's DICOM series, for outputs that refer to them; else None.
        identity: Digest of what determines the outputs: image, model, settings.
        seg_type: How a DICOM SEG is encoded.
        series_number: SeriesNumber of the first DICOM object.
        values: What the logits of slabs are: logits, or probabilities.
        picture_dpi: Dots per inch of pictures.
        previous: Label map of an earlier stage, (Z, Y, X) in the slabs' axes; None: the model has none.
    """

    grid: Grid
    reorientation: Reorientation
    slab_size: tuple[int, int, int]
    labels: tuple[Label, ...]
    channels: int
    about: dict[str, str] = field(default_factory=dict)
    track: bool = False
    overlaps: bool = False
    image: Volume | None = None
    picture_style: str = "side-by-side"
    source: Stack | None = None
    identity: str = ""
    seg_type: str = "binary"
    series_number: int = 900
    values: str = "logits"
    picture_dpi: int = 100
    previous: LabelArray | None = None


class Sink(Protocol):
    """Takes the decided slabs of one case, in ascending Z and without gaps, and commits one file."""

    needs_logits: bool

    def write(self, slab: DecidedSlab) -> None:
        """Take one slab."""
        ...

    def commit(self) -> Path | None:
        """Verify, move to the final name, and return it; None if the result stays in memory.

        Called once, after the last slab.
        """
        ...

    def abort(self) -> None:
        """Remove what was written. Safe to call at any time, also after `commit` failed."""
        ...


@dataclass(frozen=True, slots=True)
class FinishedCase:
    """A case whose voxels are all decided.

    Attributes:
        header: Header of the case.
        labels: Label values on ``header.grid``, (Z, Y, X), as in the label file; must not be changed.
        soft_dice: Soft Dice by label value, where it was measured.
        confidence: Mean confidence by label value, where it was measured.
        doubts: Reasons to review the case, without comparison to others; empty if there are none.
        uncertainty: Uncertainty of each voxel, (Z, Y, X) as `labels`, 0 (certain) to 250 (all classes equally
            likely); None if no output needs it.
        masks: The mask of each label on ``header.grid``, where labels may overlap; None if no output needs them.
    """

    header: OutputHeader
    labels: LabelArray
    soft_dice: Mapping[int, float | None] = field(default_factory=dict)
    confidence: Mapping[int, float | None] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    uncertainty: NDArray[np.uint8] | None = None
    masks: LabelMasks | None = None


class CaseOutput(Protocol):
    """Takes the finished label map of one case and commits one file."""

    def commit(self, case: FinishedCase) -> Path:
        """Write the file, verify it, move it to the final name, and return it. Called once."""
        ...

    def abort(self) -> None:
        """Remove what was written. Safe to call at any time, also after `commit` failed."""
        ...
