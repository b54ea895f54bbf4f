"""A volume as the network sees it: oriented, on the model's grid, normalised, cropped and padded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itk_infer.arrays import Array, like, to_host
from itk_infer.case.plan import CasePlan
from itk_infer.model.window import ModelWindow
from itk_infer.spec import InputSpec, ModelSpec, Padding
from itk_infer.spec.intensity import IntensityStep, Standardize
from itk_infer.spec.model_spec import CropRule
from itk_infer.volume.box import Box, inner_box
from itk_infer.volume.crop import Crop, foreground_crop
from itk_infer.volume.foreground import box_around, filled, foreground
from itk_infer.volume.intensity import Intensity, apply_intensity, needs_foreground
from itk_infer.volume.model_volume import ModelVolume
from itk_infer.volume.padding import NO_PADS, pad_volume, padded_size, pads_to, sum_of
from itk_infer.volume.resample import to_model_grid
from itk_infer.volume.resample_labels import resample_labels
from itk_infer.volume.slab import LabelArray
from itk_infer.volume.unit_values import unit_of

OUTSIDE = -1  # label of voxels outside the foreground


@dataclass(frozen=True, slots=True)
class Prepared:
    """A case as the engine takes it.

    Attributes:
        volume: The padded volume.
        plan: The plan of what is left after cropping.
        part: The box of the native array that is left after cropping, Z Y X; None: all of it.
        crop: The crop on the model's grid; None: nothing was cut off.
    """

    volume: ModelVolume
    plan: CasePlan
    part: Box | None = None
    crop: Crop | None = None


def prepare(
    stored: Array,
    plan: CasePlan,
    spec: ModelSpec,
    window: ModelWindow,
    crop_above: float | None,
    previous: LabelArray | None = None,
) -> Prepared:
    """Prepare a volume, in the memory (host or device) that holds it.

    Args:
        stored: (C, Z, Y, X) as stored, any number type.
        plan: The case's plan.
        spec: The model spec.
        window: Patch and stride.
        crop_above: Run only the smallest box that holds every voxel above this intensity; None: everything.
        previous: Label map of the previous stage, (Z, Y, X) on the native grid, for a model that takes one.
    """
    voxels, part, mask = _used(plan.reorientation.apply(stored), spec.input)
    if part is not None:
        plan = plan.inside(part, spec, window)
    rule, steps = spec.input.resampling, _steps(stored, spec.input)
    labels = None
    if previous is not None:
        inside = _within_crop(previous, part, mask)
        labels = like(resample_labels(inside, plan.model), voxels)
        if mask is not None:
            mask = like(inside != OUTSIDE, mask)  # nnU-Net counts labels outside the mask as within
    if not plan.model.identity:
        if rule.order == "after_intensity":
            voxels, steps, mask = apply_intensity(voxels, steps, mask), (), None
        voxels = to_model_grid(voxels, plan.model, rule.interpolation, clip=rule.clip, antialias=rule.antialias)
        if mask is not None:
            mask = to_model_grid(mask[None], plan.model, "nearest")[0] > 0
    crop = _crop_after("resampling", lambda rule: foreground(voxels, rule), plan, spec)
    if crop is not None:
        voxels = pad_volume(voxels[(slice(None), *crop.box)], crop.beyond, Padding())
    volume = ModelVolume(voxels, Intensity(voxels, steps, mask), mask, labels, spec.input.previous_labels)
    if not plan.model.identity:
        volume = volume.settled()  # windows overlap, and the resampled voxels are this case's own
    if crop is None:
        crop = _crop_after("intensity", volume.foreground, plan, spec)
        if crop_above is not None:
            crop = foreground_crop(volume.above(crop_above), plan.model)
        if crop is not None:
            volume = _padded(volume.cut(crop.box), crop.beyond, Padding())
    beyond = NO_PADS
    if crop is not None:
        plan, beyond = plan.over(crop.grid, spec, window, crop.beyond), crop.beyond
        part = crop.native if part is None else inner_box(part, crop.native)
    extended = pads_to(padded_size(plan.model.size, beyond), spec.input.pad_to)
    if spec.input.pad_to is not None:
        volume = _padded(volume, extended, Padding(value=spec.input.pad_to.value))
    volume = _padded(volume, plan.windows.pads_beside(sum_of(beyond, extended)), spec.input.padding)
    return Prepared(volume, plan, part, crop)


def _crop_after(
    step: str, foreground_by: Callable[[CropRule], Array], plan: CasePlan, spec: ModelSpec
) -> Crop | None:
    """The spec's crop on the model's grid, if it follows this step and cuts off anything."""
    rule = spec.input.crop
    if rule is None or rule.after != step:
        return None
    largest_of_interpolated = spec.output.decision == "argmax" and spec.output.resample != "labels"
    return foreground_crop(foreground_by(rule), plan.model, rule, faded=largest_of_interpolated)


def _padded(volume: ModelVolume, pads: tuple[tuple[int, int], ...], padding: Padding) -> ModelVolume:
    if not any(before or after for before, after in pads):
        return volume
    padded = pad_volume(volume[:], pads, padding)
    return ModelVolume(padded, Intensity(padded, ()))


def _steps(stored: Array, wanted: InputSpec) -> tuple[IntensityStep, ...]:
    """The spec's intensity steps; before them, scaling of stored integers to 0 ... 1 if the spec asks for it."""
    if wanted.values == "stored":
        return wanted.intensity
    unit = unit_of(np.dtype(str(stored.dtype).removeprefix("torch.")))
    return wanted.intensity if unit == 1 else (Standardize((0.0,), (unit,)), *wanted.intensity)


def _used(voxels: Array, wanted: InputSpec) -> tuple[Array, Box | None, Array | None]:
    """Voxels left by the spec's crop after loading, their box if smaller, and the mask for intensity steps."""
    if wanted.crop is None or wanted.crop.after != "loading":
        return voxels, None, None
    mask = foreground(voxels, wanted.crop)
    box = box_around(mask, wanted.crop.margin)
    whole = tuple(slice(0, size) for size in mask.shape)
    part = None if box is None or box == whole else box
    if part is not None:
        voxels, mask = voxels[(slice(None), *part)], mask[part]
    needed = needs_foreground(wanted.intensity) or wanted.previous_labels
    return voxels, part, filled(mask) if needed else None


def _within_crop(labels: LabelArray, part: Box | None, mask: Array | None) -> NDArray[np.integer]:
    """The previous stage's label map within the crop; background outside the foreground becomes `OUTSIDE`."""
    inside = (labels if part is None else labels[part]).astype(np.int32)
    if mask is not None:
        inside[(inside == 0) & ~to_host(mask)] = OUTSIDE
    return inside
