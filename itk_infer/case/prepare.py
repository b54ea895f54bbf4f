"""A volume as the network sees it: oriented, on the model's grid, normalised, cropped and padded."""

from __future__ import annotations

from dataclasses import dataclass

from itk_infer.arrays import Array
from itk_infer.case.plan import CasePlan
from itk_infer.model.fit import FittedWindow
from itk_infer.spec import ModelSpec
from itk_infer.volume.crop import Crop, foreground_crop
from itk_infer.volume.intensity import apply_intensity
from itk_infer.volume.padding import pad_volume
from itk_infer.volume.resample import to_model_grid


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the engine needs of a case.

    Attributes:
        array: (C, Z, Y, X) float32, padded.
        plan: Of what is left after cropping.
        crop: What was cut off; None: nothing.
    """

    array: Array
    plan: CasePlan
    crop: Crop | None


def prepare(
    stored: Array, plan: CasePlan, spec: ModelSpec, window: FittedWindow, crop_above: float | None
) -> Prepared:
    """Prepare a volume where it is.

    Args:
        stored: (C, Z, Y, X) as stored, any number type.
        plan: The case.
        spec: What the model wants.
        window: Patch and stride.
        crop_above: Run only the smallest box that holds every voxel above this; None: everything.
    """
    array, how = plan.turn.apply(stored), spec.input.resampling.interpolation
    if spec.input.resampling.order == "before_intensity":
        array = apply_intensity(to_model_grid(array, plan.model, how), spec.input.intensity)
    else:
        array = to_model_grid(apply_intensity(array, spec.input.intensity), plan.model, how)
    crop = None if crop_above is None else foreground_crop(array, crop_above, plan.model)
    if crop is not None:
        array = array[(slice(None), *crop.box)]
        plan = plan.over(crop.grid, spec, window)
    return Prepared(pad_volume(array, plan.windows.pads, spec.input.padding), plan, crop)
