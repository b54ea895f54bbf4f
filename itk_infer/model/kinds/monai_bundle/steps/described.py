"""Which networks of MONAI are described as steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

from itk_infer.model.kinds.monai_bundle.network_def import NetworkDef
from itk_infer.model.kinds.monai_bundle.steps.dynunet import dynunet_steps
from itk_infer.model.kinds.monai_bundle.steps.layers import NotDescribed
from itk_infer.model.kinds.monai_bundle.steps.segresnet import segresnet_steps
from itk_infer.model.kinds.monai_bundle.steps.unet import unet_steps
from itk_infer.model.kinds.network_steps.step import Step

DESCRIBED: Mapping[str, Callable[..., tuple[Step, ...]]] = {
    "DynUNet": dynunet_steps,
    "SegResNet": segresnet_steps,
    "UNet": unet_steps,
}


def steps_of(about: NetworkDef) -> tuple[Step, ...]:
    """The steps from the image to logits, the last result.

    Raises:
        NotDescribed: the class is not described, or not with these arguments.
    """
    write = DESCRIBED.get(about.name)
    if write is None:
        raise NotDescribed(f"{about.name} is not one of {', '.join(DESCRIBED)}")
    try:
        inspect.signature(write).bind(**about.arguments)
    except TypeError as error:
        raise NotDescribed(f"{about.name}: {error}") from None
    try:
        return write(**about.arguments)
    except NotDescribed as error:
        raise NotDescribed(f"{about.name}: {error}") from None
    except RecursionError:
        raise NotDescribed(f"{about.name}: it has hundreds of stages") from None
