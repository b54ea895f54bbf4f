"""Build a bundle's network and load its weights, which must fit exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itk_infer.errors import ModelError
from itk_infer.lazy_packages import import_name
from itk_infer.model.kinds.checkpoint import describe, read_document
from itk_infer.model.kinds.monai_bundle.network_def import NetworkDef, wrong_arguments

if TYPE_CHECKING:
    from torch import Tensor, nn


def build_network(about: NetworkDef) -> nn.Module:
    """Build the network, with initial weights.

    Raises:
        ImportError: monai is not installed.
        ModelError: MONAI cannot build the network with these arguments.
    """
    try:
        made_by = import_name("monai", "monai.networks.nets", about.name)
        network: nn.Module = made_by(**about.arguments)
    except ImportError:  # einops and the like, which the extra installs
        raise
    except Exception as error:
        raise wrong_arguments(about, error) from error
    return network


def read_weights(path: Path, keys: Sequence[str]) -> Mapping[str, Tensor]:
    """Read the weights in a checkpoint.

    Args:
        path: File with a state dict, or with a mapping that has one.
        keys: Keys of that mapping, preferred ones first; if none exists, the whole file is the state dict.

    Raises:
        ModelError: the file is missing, damaged or unsafe, or has no weights.
    """
    document = read_document(path)
    found: Any = document
    if isinstance(document, Mapping):
        found = next((document[key] for key in keys if isinstance(document.get(key), Mapping)), document)
    if not _is_state(found):
        raise ModelError(f"{path}: holds {describe(document)}, not weights; copy or download the bundle again")
    return {name.removeprefix("module."): value for name, value in found.items()}


def load_strictly(
    network: nn.Module, weights: Mapping[str, Tensor], path: Path, about: NetworkDef, by: str
) -> None:
    """Load weights whose names and shapes must be those of the network.

    Args:
        network: The network that gets the weights.
        weights: See `read_weights`.
        path: File of the weights, for messages.
        about: Class and arguments of the network, for messages.
        by: Version of MONAI that made the bundle, for messages.

    Raises:
        ModelError: names or shapes differ.
    """
    own = network.state_dict()
    findings = {
        "missing": [name for name in own if name not in weights],
        "unexpected": [name for name in weights if name not in own],
        "of another shape": [n for n, value in own.items() if n in weights and weights[n].shape != value.shape],
    }
    listed = [f"{len(names)} {what} ({_some(names)})" for what, names in findings.items() if names]
    if listed:
        raise ModelError(
            f"{path}: the weights are not those of the {about.name} in network_def: {'; '.join(listed)}. "
            f"The bundle was made with MONAI {by or '(not stated)'}, and this is {version('monai')}; "
            "models/model.ts or an export to ONNX does not depend on the version"
        )
    network.load_state_dict(dict(weights))


def _is_state(value: Any) -> bool:
    import torch

    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(key, str) and isinstance(item, torch.Tensor) for key, item in value.items())


def _some(names: Sequence[str], limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
