"""What one case gave."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from itk_infer.outputs.label_map import LabelMapSink
from itk_infer.outputs.sink import Sink
from itk_infer.spec import Label

if TYPE_CHECKING:
    import SimpleITK as sitk

    from itk_infer.case.clock import Clock
    from itk_infer.case.plan import CasePlan
    from itk_infer.engine.segment import SegmentStats


@dataclass(frozen=True, slots=True)
class LabelMeasurement:
    """Measurements of one label.

    Attributes:
        label: The label.
        voxels: Voxels of the case's own grid.
        volume_ml: The same in millilitres.
        confidence: Mean over these voxels, 0 to 1; None if there are none.
    """

    label: Label
    voxels: int
    volume_ml: float
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Measurements:
    """What one case gave, apart from its voxels.

    Attributes:
        labels: One measurement per label, in the order of the label table.
        confidence: Mean over all voxels, 0 (knows nothing) to 1 (certain).
        confidence_foreground: Mean over the voxels of any label; None if there are none.
        windows: Windows run.
        seconds: Time spent, by stage.
        warnings: What was noticed and did not stop the case.
        paths: Files written.
    """

    labels: tuple[LabelMeasurement, ...]
    confidence: float | None
    confidence_foreground: float | None
    windows: int
    seconds: dict[str, float]
    warnings: tuple[str, ...] = ()
    paths: tuple[Path, ...] = ()

    @property
    def volumes_ml(self) -> dict[str, float]:
        """Millilitres by label name."""
        return {label.label.name: label.volume_ml for label in self.labels}

    def recounted(self, voxels: Sequence[int], voxel_ml: float) -> Measurements:
        """The same with other counts: one per label, in the order of the label table."""
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
) -> Measurements:
    """What the engine counted, in the units of the case."""
    voxel_ml = plan.native.voxel_volume_ml
    measured = zip(table, stats.voxels, stats.confidence.per_label, strict=True)
    clipped = f"{stats.clipped:,} logits lie beyond the range of float16 and were clipped to it"
    return Measurements(
        labels=tuple(LabelMeasurement(label, n, n * voxel_ml, confidence) for label, n, confidence in measured),
        confidence=stats.confidence.overall,
        confidence_foreground=stats.confidence.foreground,
        windows=windows,
        seconds=clock.seconds,
        warnings=(*warnings, *([clipped] if stats.clipped else [])),
    )


@dataclass(frozen=True, slots=True)
class PendingOutputs:
    """A case whose sinks have all their slabs. Needs neither the image nor the network any more.

    Attributes:
        sinks: To be committed, once, or aborted.
        measurements: What is known before that.
    """

    sinks: Sequence[Sink]
    measurements: Measurements

    def commit(self) -> Measurements:
        """Commit the sinks.

        Raises:
            CaseError: a file cannot be written; no sink has left anything behind.
        """
        started = time.perf_counter()
        try:
            paths = tuple(path for sink in self.sinks if (path := sink.commit()) is not None)
        except BaseException:
            self.abort()
            raise
        seconds = {**self.measurements.seconds, "write": time.perf_counter() - started}
        return replace(self._counted(), seconds=seconds, paths=paths)

    def _counted(self) -> Measurements:
        """Counts are the decider's, but where the label map was changed after deciding: there, the label map's."""
        for sink in self.sinks:
            if isinstance(sink, LabelMapSink) and sink.voxels is not None:
                return self.measurements.recounted(sink.voxels, sink.finished.header.grid.voxel_volume_ml)
        return self.measurements

    def abort(self) -> None:
        """Leave nothing behind."""
        for sink in self.sinks:
            sink.abort()


@dataclass(frozen=True, slots=True)
class Result:
    """The answer of the Python API to one image.

    Attributes:
        labels: Label map as a SimpleITK image, uint8 or uint16.
        measurements: Everything else.
    """

    labels: sitk.Image
    measurements: Measurements

    @property
    def confidence(self) -> float | None:
        """Mean confidence over all voxels, 0 to 1."""
        return self.measurements.confidence

    @property
    def volumes_ml(self) -> dict[str, float]:
        """Millilitres by label name."""
        return self.measurements.volumes_ml
