"""Segment one volume with the models of a recipe, one after the other, and merge their label maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from itk_infer.case.loaded_recipe import LoadedRecipe
from itk_infer.case.outputs import CaseSinks, MakeSinks
from itk_infer.case.result import LabelMeasurement, Measurements, PendingOutputs
from itk_infer.engine.decision import Decision
from itk_infer.errors import ConfigError
from itk_infer.outputs.sink import OutputHeader
from itk_infer.spec import Label
from itk_infer.volume.grid import UNCHANGED
from itk_infer.volume.slab import DecidedSlab, LabelArray
from itk_infer.volume.volume import Volume

PLANES = 16  # per slab of the merged label map
LabelMapOf = Callable[[int], tuple[LabelArray, Measurements]]


def infer_recipe(
    model: LoadedRecipe, volume: Volume, make_sinks: MakeSinks, label_map_of: LabelMapOf
) -> PendingOutputs:
    """Segment a volume with all models, and merge their label maps; a later model overwrites earlier ones.

    Args:
        model: The models.
        volume: The case's image.
        make_sinks: As of `infer`.
        label_map_of: Runs the model with this index; returns its label map on the stored grid, and measurements.

    Raises:
        CaseError: the case cannot be finished; all files of its sinks are removed.
        ConfigError: logits were asked for, which label maps do not have.
    """
    decision = Decision(model.spec.output, len(model.spec.output.labels or ()) + 1)
    merged = np.zeros(volume.grid.size, decision.dtype)
    found: list[Measurements] = []
    measured_of: dict[int, LabelMeasurement | None] = {}
    for number, part in enumerate(model.recipe.parts):
        labels, measured = label_map_of(number)
        found.append(measured)
        values = np.zeros(int(labels.max(initial=0)) + 1, decision.dtype)
        own = {item.label.value: item for item in measured.labels}
        for label, value in part.table():
            if label.value < len(values):
                values[label.value] = value
            measured_of[value] = own.get(label.value)
        inside = values[labels]
        np.copyto(merged, inside, where=inside != 0)

    def header(decided: Decision) -> OutputHeader:
        plan = model.plan(volume.grid, volume.array.itemsize)
        as_stored = replace(plan, native=volume.grid, reorientation=UNCHANGED)
        return model.header(volume.grid, as_stored, decided)

    sinks = CaseSinks(make_sinks, header, None, volume.grid.size)
    try:
        opened = sinks.open(decision)
        if opened.logits:
            raise ConfigError("a recipe merges label maps, and has no logits: leave `save_logits` out")
        for slab in _slabs(merged):
            opened.take(slab)
    except BaseException:
        sinks.abort()
        raise
    counts = decision.counts(merged, None)
    return PendingOutputs(sinks.open_outputs, _together(found, decision, counts, measured_of, volume))


def _slabs(labels: LabelArray) -> Iterator[DecidedSlab]:
    for start in range(0, len(labels), PLANES):
        yield DecidedSlab(start, labels[start : start + PLANES], None)


def _together(
    found: list[Measurements],
    decision: Decision,
    counts: NDArray[np.int64],
    measured_of: dict[int, LabelMeasurement | None],
    volume: Volume,
) -> Measurements:
    """Counts of the merged label map; a label's other values are its model's, the case's the lowest of all."""
    millilitres = volume.grid.voxel_volume_ml
    seconds: dict[str, float] = {}
    for measured in found:
        for stage, spent in measured.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + spent
    return Measurements(
        labels=tuple(
            _counted(label, int(n), millilitres, measured_of.get(label.value))
            for label, n in zip(decision.table, counts, strict=True)
        ),
        confidence=_lowest([measured.confidence for measured in found]),
        confidence_foreground=_lowest([measured.confidence_foreground for measured in found]),
        windows=sum(measured.windows for measured in found),
        seconds=seconds,
        members=max(measured.members for measured in found),
        mutual_information=max(
            (measured.mutual_information for measured in found if measured.mutual_information is not None),
            default=None,
        ),
        warnings=tuple(dict.fromkeys(text for measured in found for text in measured.warnings)),
    )


def _counted(label: Label, voxels: int, millilitres: float, measured: LabelMeasurement | None) -> LabelMeasurement:
    volume = voxels * millilitres
    if measured is None:
        return LabelMeasurement(label, voxels, volume, None)
    return replace(measured, label=label, voxels=voxels, volume_ml=volume)


def _lowest(values: list[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)
