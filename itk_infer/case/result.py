"""Results and measurements of one case."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from itk_infer.case.doubts import doubts_about
from itk_infer.case.finish import parts_of, parts_of_masks, postprocess
from itk_infer.outputs.kept_masks import KeptMasks
from itk_infer.outputs.label_map import LabelMapSink
from itk_infer.outputs.sink import Sink
from itk_infer.spec import Label
from itk_infer.spec.postprocessing import Rule
from itk_infer.volume.postprocess import RuleEffect, vanished

if TYPE_CHECKING:
    import SimpleITK as sitk

    from itk_infer.case.clock import Clock
    from itk_infer.case.plan import CasePlan
    from itk_infer.engine.agreement import AgreementStats
    from itk_infer.engine.segment import SegmentStats
    from itk_infer.volume.slab import LabelArray


@dataclass(frozen=True, slots=True)
class LabelMeasurement:
    """Measurements of one label.

    Attributes:
        label: The label.
        voxels: Voxels on the case's native grid.
        volume_ml: Volume of these voxels in millilitres.
        confidence: Mean confidence of these voxels, 0 to 1; None if there are none.
        soft_dice: Soft Dice, 0 to 1, see `itk_infer.engine.confidence`; None if the label was not found.
        expected_ml: Expected volume in millilitres: the sum of the probability over all voxels; None if not known.
        components: Connected components (26 neighbours) of the label map that is written, or of the label's own
            mask where labels overlap and their masks are kept; None if not counted.
        outside_largest: Share of the voxels outside the largest component; None if there are none.
        agreement: Mean Dice of pairs of members; None if no member found the label, or there is one member.
    """

    label: Label
    voxels: int
    volume_ml: float
    confidence: float | None
    soft_dice: float | None = None
    expected_ml: float | None = None
    components: int | None = None
    outside_largest: float | None = None
    agreement: float | None = None


@dataclass(frozen=True, slots=True)
class Measurements:
    """Measurements of one case.

    Attributes:
        labels: One measurement per label, in the order of the label table.
        confidence: Mean confidence over all voxels, 0 (undecided) to 1 (certain).
        confidence_foreground: Mean confidence over the voxels of all labels; None if there are none.
        windows: Windows run.
        seconds: Seconds by stage.
        warnings: Problems that did not stop the case, one sentence each.
        paths: Files written.
        effects: What post-processing rules changed.
        members: Members of the model that were blended separately; 1 if it has none.
        mutual_information: That of the members, see `itk_infer.engine.agreement`; None if it has none.
    """

    labels: tuple[LabelMeasurement, ...]
    confidence: float | None
    confidence_foreground: float | None
    windows: int
    seconds: dict[str, float]
    warnings: tuple[str, ...] = ()
    paths: tuple[Path, ...] = ()
    effects: tuple[RuleEffect, ...] = ()
    members: int = 1
    mutual_information: float | None = None

    @property
    def least_agreed(self) -> LabelMeasurement | None:
        """The label about which the members agree least, the first of several; None if it was not measured."""
        known = [item for item in self.labels if item.agreement is not None]
        return min(known, key=lambda item: item.agreement or 0.0, default=None)

    @property
    def agreement(self) -> float | None:
        """Agreement of `least_agreed`; 0 if no member found a label, None if the model has no members."""
        least = self.least_agreed
        if least is not None:
            return least.agreement
        return 0.0 if self.members > 1 else None

    @property
    def worst(self) -> LabelMeasurement | None:
        """The label with the lowest soft Dice, the first of several; None if no label was found."""
        known = [item for item in self.labels if item.soft_dice is not None]
        return min(known, key=lambda item: item.soft_dice or 0.0, default=None)

    @property
    def soft_dice(self) -> float | None:
        """Soft Dice of the worst label; 0 if no label was found, None if it was not measured."""
        worst = self.worst
        if worst is not None:
            return worst.soft_dice
        return 0.0 if any(item.expected_ml is not None for item in self.labels) else None

    @property
    def volumes_ml(self) -> dict[str, float]:
        """Volumes in millilitres, by label name."""
        return {label.label.name: label.volume_ml for label in self.labels}

    def recounted(self, voxels: Sequence[int], voxel_ml: float) -> Measurements:
        """Return the same with other voxel counts, one per label in the order of the label table."""
        counted = zip(self.labels, voxels, strict=True)
        findings = tuple(replace(item, voxels=n, volume_ml=n * voxel_ml) for item, n in counted)
        return replace(self, labels=findings)


def measurements(
    stats: SegmentStats,
    table: tuple[Label, ...],
    plan: CasePlan,
    windows: int,
    clock: Clock,
    warnings: Sequence[str],
    *,
    on_model_grid: bool = True,
    compared: AgreementStats | None = None,
) -> Measurements:
    """Convert what the engine counted to the units of the case.

    Args:
        stats: Counts and confidence from the engine.
        table: The label table.
        plan: The case's plan.
        windows: Windows run.
        clock: Seconds by stage.
        warnings: Warnings so far.
        on_model_grid: Whether probabilities were measured on the model's grid; if not, on the native one.
        compared: How far the model's members agree; None if it has none.
    """
    voxel_ml = plan.native.voxel_volume_ml
    steps = math.prod(axis.step for axis in plan.model.axes) if on_model_grid else 1.0
    found = stats.confidence
    agreed = compared.dice if compared is not None else (None,) * len(table)
    measured = zip(table, stats.voxels, found.per_label, found.soft_dice, found.expected, agreed, strict=True)
    clipped = f"{stats.clipped:,} logits lie beyond the range of float16 and were clipped to it"
    return Measurements(
        labels=tuple(
            LabelMeasurement(
                label, n, n * voxel_ml, confidence, soft_dice, expected * voxel_ml * steps, agreement=agreement
            )
            for label, n, confidence, soft_dice, expected, agreement in measured
        ),
        confidence=found.overall,
        confidence_foreground=found.foreground,
        windows=windows,
        seconds=clock.seconds,
        warnings=(*warnings, *([clipped] if stats.clipped else [])),
        members=1 if compared is None else compared.members,
        mutual_information=None if compared is None else compared.mutual_information,
    )


@dataclass(frozen=True, slots=True)
class PendingOutputs:
    """A computed case whose files are not yet written. Neither its image nor the network is needed any more.

    Attributes:
        sinks: Sinks that have all slabs; to be committed once, or aborted.
        measurements: Measurements before post-processing.
        rules: Post-processing rules for the label map.
        uncertainty: Uncertainty of each voxel, (Z, Y, X) on the grid of the files; None if it was not asked for.
    """

    sinks: Sequence[Sink]
    measurements: Measurements
    rules: tuple[Rule, ...] = ()
    uncertainty: NDArray[np.uint8] | None = None

    def with_warnings(self, sentences: Sequence[str]) -> PendingOutputs:
        """Return the same with more warnings, which come first."""
        measured = replace(self.measurements, warnings=(*sentences, *self.measurements.warnings))
        return replace(self, measurements=measured)

    def commit(self) -> Measurements:
        """Post-process the label map, and write the files.

        Raises:
            CaseError: a file cannot be written; all files of the sinks that have no final name are removed.
        """
        started = time.perf_counter()
        try:
            measured = self._finished()
            finished = time.perf_counter()
            paths = tuple(path for sink in self.sinks if (path := sink.commit()) is not None)
        except BaseException:
            self.abort()
            raise
        seconds = {**self.measurements.seconds, "write": time.perf_counter() - finished}
        if self.rules:
            seconds["postprocess"] = finished - started
        else:
            seconds["write"] += finished - started
        return replace(measured, seconds=seconds, paths=paths)

    def _finished(self) -> Measurements:
        """Post-process the label map; returns measurements with the counts and components of the result."""
        sink = next((sink for sink in self.sinks if isinstance(sink, LabelMapSink)), None)
        if sink is None:
            return self.measurements
        kept = [sink for sink in self.sinks if isinstance(sink, KeptMasks)]
        effects = postprocess(sink, kept, self.rules) if self.rules else ()
        measured = self._counted()
        if kept and sink.finished.header.overlaps:
            parts = parts_of_masks(kept[0].masks)
        else:
            parts = parts_of(sink.finished.labels, sink.finished.header.labels)
        labels = tuple(
            replace(item, components=part.count, outside_largest=part.outside_largest)
            for item, part in zip(measured.labels, parts, strict=True)
        )
        warnings = [*measured.warnings, *vanished(effects)]
        if any(part.count is None for part in parts):
            warnings.append("its labels change so often from voxel to voxel that their parts were not counted")
        measured = replace(measured, labels=labels, effects=effects, warnings=tuple(warnings))
        sink.soft_dice = {item.label.value: item.soft_dice for item in labels}
        sink.confidence = {item.label.value: item.confidence for item in labels}
        sink.doubts, sink.uncertainty = doubts_about(measured), self.uncertainty
        return measured

    def _counted(self) -> Measurements:
        """Measurements with the engine's voxel counts, or the label map's if it was changed after the decision."""
        for sink in self.sinks:
            if isinstance(sink, LabelMapSink) and sink.voxels is not None:
                return self.measurements.recounted(sink.voxels, sink.finished.header.grid.voxel_volume_ml)
        return self.measurements

    def abort(self) -> None:
        """Remove what the sinks have written."""
        for sink in self.sinks:
            sink.abort()


@dataclass(frozen=True, slots=True)
class Result:
    """The result of the Python API for one image.

    Attributes:
        labels: Label map as a SimpleITK image, uint8 or uint16.
        measurements: Volumes, confidence, times and warnings.
    """

    labels: sitk.Image
    measurements: Measurements

    @property
    def array(self) -> LabelArray:
        """The label map as an array, (Z, Y, X); (Y, X) if it is a single plane."""
        import SimpleITK as sitk

        array: LabelArray = sitk.GetArrayFromImage(self.labels)
        return array[0] if len(array) == 1 else array

    @property
    def confidence(self) -> float | None:
        """Mean confidence over all voxels, 0 to 1."""
        return self.measurements.confidence

    @property
    def volumes_ml(self) -> dict[str, float]:
        """Volumes in millilitres, by label name."""
        return self.measurements.volumes_ml
