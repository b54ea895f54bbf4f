"""The network that a bundle describes, without torch: a class from the list below, and plain arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from itk_infer.errors import ModelError
from itk_infer.model.kinds.monai_bundle.graph import Component, truth
from itk_infer.spec.values import is_number

# Classes in monai.networks.nets whose arguments are numbers and names, and whose constructors load nothing.
NETWORKS = {
    *("AttentionUnet", "BasicUNet", "BasicUNetPlusPlus", "DynUNet", "HighResNet", "SegResNet", "SegResNetDS"),
    *("SegResNetVAE", "SwinUNETR", "UNETR", "UNet", "VNet"),
}
# Arguments of earlier MONAI versions, with the only value that can be dropped; None: any value.
REMOVED: dict[str, dict[str, Any]] = {"SwinUNETR": {"img_size": None}, "SegResNet": {"norm_name": "group"}}
# Networks whose default of out_channels is 2 in MONAI; for the others it is 1, or there is none.
_TWO_OUTPUTS = {"BasicUNet", "BasicUNetPlusPlus", "SegResNet", "SegResNetDS", "SegResNetVAE"}
# Arguments that say how many blocks follow each other, in all stages or in each.
BLOCKS = ("num_res_units", "blocks_down", "blocks_up", "depths", "layer_params", "dsdepth")
MAX_BLOCKS = 1000  # in all stages; networks of the model zoo have up to 30
_MAX_NUMBER = 1_000_000
_MAX_VALUES = 1000


@dataclass(frozen=True, slots=True)
class NetworkDef:
    """A network that MONAI can build.

    Attributes:
        name: A name in `NETWORKS`.
        arguments: Keyword arguments, plain data.
        inputs: Input channels.
        outputs: Output channels.
        dimensions: 2 or 3.
        dropped: Arguments that this version of MONAI no longer has.
    """

    name: str
    arguments: Mapping[str, Any]
    inputs: int
    outputs: int
    dimensions: int
    dropped: tuple[str, ...] = ()


def read_network(component: Component) -> NetworkDef:
    """Read a ``network_def``.

    Raises:
        ModelError: the class is not in the list, an argument is not plain data, or there are far too many blocks.
    """
    name = component.name
    if name not in NETWORKS:
        raise component.refused(
            f"is not among the networks that can be built ({', '.join(sorted(NETWORKS))}); a bundle's "
            "code is not run. Where its code is, export the network as models/model.onnx or models/model.ts"
        )
    dropped = [key for key in component.raw if key in REMOVED.get(name, {})]
    arguments = {key: _plain(component, key) for key in component.raw if key not in dropped}
    for key in dropped:
        expected = REMOVED[name][key]
        if expected is not None and component.argument(key) != expected:
            raise component.refused(f"has {key}={component.argument(key)!r:.60}, which MONAI no longer has")
    if truth(arguments.get("pretrained", False)):
        raise component.refused("has pretrained=True, which would download weights; the bundle's own are used")
    for key in BLOCKS:
        blocks = _blocks(arguments.get(key))
        stages = arguments.get("channels") if key == "num_res_units" else None
        blocks *= len(stages) if isinstance(stages, list | tuple) else 1
        if blocks > MAX_BLOCKS:
            raise component.refused(
                f"has {blocks:,.0f} blocks ({key}); networks of up to {MAX_BLOCKS:,} can be run"
            )
    return NetworkDef(
        name,
        arguments,
        _count(component, arguments, "in_channels", 1),
        _count(component, arguments, "out_channels", 2 if name in _TWO_OUTPUTS else 1),
        _count(component, arguments, "spatial_dims", 3),
        tuple(dropped),
    )


def _plain(component: Component, key: str) -> Any:
    value = component.argument(key)
    waiting, seen = [value], 0
    while waiting:
        item = waiting.pop()
        seen += 1
        if isinstance(item, Mapping):
            waiting.extend(item.values())
        elif isinstance(item, list | tuple):
            waiting.extend(item)
        elif not isinstance(item, str | bool | None) and not (is_number(item) and abs(item) <= _MAX_NUMBER):
            raise component.refused(f"has {key}={item!r:.60}, which is neither a number nor a name")
        if seen > _MAX_VALUES:
            raise component.refused(f"has {key} with more than {_MAX_VALUES} values")
    return value


def _blocks(value: Any) -> float:
    """The sum of the positive numbers in an argument; of a mapping, its convolutions times its repetitions."""
    if isinstance(value, Mapping):
        kernels = value.get("kernels")
        return _blocks(value.get("repeat")) * (len(kernels) if isinstance(kernels, list | tuple) else 1)
    if isinstance(value, list | tuple):
        return sum(map(_blocks, value))
    return max(0, value) if is_number(value) else 0


def _count(component: Component, arguments: Mapping[str, Any], key: str, default: int) -> int:
    value = arguments.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 4096:
        raise component.refused(f"has {key}={value!r:.60}, which must be a positive whole number")
    if key == "spatial_dims" and value not in (2, 3):
        raise component.refused(f"has {key}={value}; networks of 2 and 3 dimensions can be run")
    return value


def wrong_arguments(about: NetworkDef, error: Exception) -> ModelError:
    """Make the error that MONAI cannot build the network."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ModelError(
        f"network_def: MONAI does not build {about.name} of these arguments ({line}); the bundle may be of "
        "another version of MONAI"
    )
