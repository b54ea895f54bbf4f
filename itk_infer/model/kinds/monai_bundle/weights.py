"""Build a bundle's network and load its weights, which must fit exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from itk_infer.errors import ModelError
from itk_infer.lazy_packages import import_name
from itk_infer.model.kinds.checkpoint import describe, read_document
from itk_infer.model.kinds.monai_bundle.network_def import NetworkDef, wrong_arguments
from itk_infer.model.kinds.monai_bundle.state_dict import differences, state_in

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
        keys: See `state_in`.

    Raises:
        ModelError: the file is missing, damaged or unsafe, or has no weights.
    """
    import torch

    document = read_document(path)
    found = state_in(document, keys, torch.Tensor)
    if found is None:
        raise ModelError(f"{path}: holds {describe(document)}, not weights; copy or download the bundle again")
    return found


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
    own, given = ({name: tuple(v.shape) for name, v in of.items()} for of in (network.state_dict(), weights))
    listed = differences(own, given)
    if listed:
        raise ModelError(
            f"{path}: the weights are not those of the {about.name} in network_def: {listed}. "
            f"The bundle was made with MONAI {by or '(not stated)'}, and this is {version('monai')}; "
            "models/model.ts or an export to ONNX does not depend on the version"
        )
    network.load_state_dict(dict(weights))
