"""A volume as the network sees it: oriented, on the model's grid, normalised, cropped and padded."""

from __future__ import annotations

from dataclasses import dataclass

from itk_infer.arrays import Array
from itk_infer.case.plan import CasePlan
from itk_infer.model.window import ModelWindow
from itk_infer.spec import ModelSpec
from itk_infer.volume.crop import Crop, foreground_crop
from itk_infer.volume.intensity import Intensity, apply_intensity
from itk_infer.volume.model_volume import ModelVolume
from itk_infer.volume.padding import pad_volume
from itk_infer.volume.resample import to_model_grid


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the engine needs of a case.

    Attributes:
        volume: Padded.
        plan: Of what is left after cropping.
        crop: What was cut off; None: nothing.
    """

    volume: ModelVolume
    plan: CasePlan
    crop: Crop | None


def prepare(
    stored: Array, plan: CasePlan, spec: ModelSpec, window: ModelWindow, crop_above: float | None
) -> Prepared:
    """Prepare a volume where it is.

    Args:
        stored: (C, Z, Y, X) as stored, any number type.
        plan: The case.
        spec: What the model wants.
        window: Patch and stride.
        crop_above: Run only the smallest box that holds every voxel above this; None: everything.
    """
    voxels, steps, how = (
        plan.reorientation.apply(stored),
        spec.input.intensity,
        spec.input.resampling.interpolation,
    )
    if spec.input.resampling.order == "after_intensity" and not plan.model.identity:
        voxels, steps = apply_intensity(voxels, steps), ()
    voxels = to_model_grid(voxels, plan.model, how)
    volume = ModelVolume(voxels, Intensity(voxels, steps))
    crop = None if crop_above is None else foreground_crop(volume.above(crop_above), plan.model)
    if crop is not None:
        volume = volume.cut(crop.box)
        plan = plan.over(crop.grid, spec, window)
    if any(before or after for before, after in plan.windows.pads):
        padded = pad_volume(volume[:], plan.windows.pads, spec.input.padding)
        volume = ModelVolume(padded, Intensity(padded, ()))
    return Prepared(volume, plan, crop)
