"""The weights of a bundle as NumPy arrays, which the steps of its network must have exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from itk_infer.model.kinds.checkpoint import read_arrays
from itk_infer.model.kinds.monai_bundle.state_dict import differences, state_in
from itk_infer.model.kinds.monai_bundle.steps.layers import NotDescribed
from itk_infer.model.kinds.network_steps.step import Step, Values, weights_of


@dataclass(frozen=True, slots=True)
class WeightArrays:
    """Weights.

    Attributes:
        values: By the names of torch.
        release: See `TorchZip`.
    """

    values: Mapping[str, Values]
    release: Callable[[], None]


def read_weight_arrays(path: Path, keys: Sequence[str], steps: Sequence[Step]) -> WeightArrays:
    """Read the weights of a network of steps.

    Args:
        path: File with a state dict, or with a mapping that has one.
        keys: See `state_in`.
        steps: The network.

    Raises:
        ModelError: the file is damaged or unsafe, or needs torch, which is not installed.
        NotDescribed: it has no weights, or those of a network with other names or shapes.
    """
    if path.suffix == ".safetensors":
        raise NotDescribed(f"{path.name} is no file of torch")
    read = read_arrays(path)
    values = state_in(read.content, keys, np.ndarray)
    if values is None:
        raise NotDescribed(f"{path.name} holds no weights")
    listed = differences(weights_of(steps), {name: value.shape for name, value in values.items()})
    if listed:
        raise NotDescribed(f"the weights in {path.name} have other names or shapes: {listed}")
    return WeightArrays(values, read.release)
