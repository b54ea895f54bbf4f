"""MONAI's networks, registered under their own names; MONAI is imported only when a config uses one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmengine.registry import MODELS

from itk_infer.errors import ModelError

NETWORKS = ("DynUNet", "SegResNet", "SwinUNETR", "UNETR")


def _maker(name: str) -> Callable[..., Any]:
    def make(**arguments: Any) -> Any:
        try:
            from monai.networks import nets
        except ImportError as error:
            raise ModelError(
                f"the network {name} comes from MONAI, which cannot be imported ({error}); "
                "run: pip install 'itk_infer[monai-torch]'"
            ) from error
        return getattr(nets, name)(**arguments)

    return make


for _name in NETWORKS:
    MODELS.register_module(name=_name, module=_maker(_name))
