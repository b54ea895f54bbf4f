"""Read checkpoints of nnU-Net, and load their weights into the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itk_infer.errors import ModelError
from itk_infer.model.kinds.checkpoint import describe, read_arrays
from itk_infer.model.kinds.network_steps.step import Values
from itk_infer.model.kinds.nnunet.architecture import Architecture

if TYPE_CHECKING:
    from itk_infer.model.kinds.nnunet.networks import UNet

# Prefixes of parameter names that DistributedDataParallel and torch.compile add.
_WRAPPERS = ("module.", "_orig_mod.")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One fold's checkpoint.

    Attributes:
        path: The file.
        weights: Arrays by the names of parameters and buffers, without duplicates.
        trainer: Name of the trainer's class.
        configuration: Name of the configuration; empty if not stated.
        plans: The plans it was trained with; None if not stored.
        dataset: The dataset.json it was trained with; None if not stored.
        mirror_axes: Axes that may be mirrored, numbered as the network's spatial axes.
        release: Returns the memory of weights that have been used to the system; see `TorchZip`.
    """

    path: Path
    weights: Mapping[str, Values]
    trainer: str
    configuration: str
    plans: Mapping[str, Any] | None
    dataset: Mapping[str, Any] | None
    mirror_axes: tuple[int, ...]
    release: Callable[[], None] = lambda: None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint. Nothing in it is executed.

    Raises:
        ModelError: it is missing, damaged or unsafe, or not a checkpoint of nnU-Net v2.
    """
    read = read_arrays(path)
    document = read.content
    weights = document.get("network_weights") if isinstance(document, Mapping) else None
    if not isinstance(weights, Mapping) or not weights:
        raise ModelError(
            f"{path}: is not a checkpoint of nnU-Net v2, which has network_weights, but {describe(document)}"
        )
    others = [
        str(name)
        for name, value in weights.items()
        if not (isinstance(name, str) and isinstance(value, np.ndarray))
    ]
    if others:
        raise ModelError(f"{path}: {others[0]} in network_weights is no tensor; copy or download the file again")
    arguments = document.get("init_args")
    known: Mapping[str, Any] = arguments if isinstance(arguments, Mapping) else {}
    plans, dataset = known.get("plans"), known.get("dataset_json")
    return Checkpoint(
        path,
        own_names(weights),
        _text(document.get("trainer_name")),
        _text(known.get("configuration")),
        plans if isinstance(plans, Mapping) else None,
        dataset if isinstance(dataset, Mapping) else None,
        _mirror_axes(document.get("inference_allowed_mirroring_axes"), path),
        read.release,
    )


def own_names(weights: Mapping[str, Values]) -> dict[str, Values]:
    """Remove duplicates, which nnU-Net lists under second names, and prefixes.

    nnU-Net's convolutions list their layers as ``conv``, ``norm`` and again in ``all_modules``, and its decoder
    lists the encoder.
    """
    short = {_unwrapped(name): value for name, value in weights.items()}
    return {
        name: value
        for name, value in short.items()
        if "all_modules" not in name.split(".") and not name.startswith("decoder.encoder.")
    }


def load_strictly(network: UNet, checkpoint: Checkpoint, about: Architecture) -> None:
    """Load the weights into a network of torch, which they must fit exactly; then remove biases without effect.

    Raises:
        ModelError: names or shapes are not those of the network.
    """
    import torch

    check_weights({name: tuple(value.shape) for name, value in network.state_dict().items()}, checkpoint, about)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in checkpoint.weights.items()})
    network.drop_idle_biases()


def check_weights(own: Mapping[str, tuple[int, ...]], checkpoint: Checkpoint, about: Architecture) -> None:
    """Raise `ModelError` unless a checkpoint has exactly the names and shapes of a network's weights."""
    given = checkpoint.weights
    missing = [name for name in own if name not in given]
    unexpected = [name for name in given if name not in own]
    shapes = [
        f"{name} {given[name].shape} instead of {shape}"
        for name, shape in own.items()
        if name in given and given[name].shape != shape
    ]
    findings = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    listed = [f"{len(names)} {what} ({_some(names)})" for what, names in findings.items() if names]
    if listed:
        raise ModelError(
            f"{checkpoint.path}: the weights are not those of the {about.network} that the plans describe for "
            f"{checkpoint.configuration or 'this configuration'}: {'; '.join(listed)}. It was trained by "
            f"{checkpoint.trainer or 'an unknown trainer'}; a trainer that changes the network cannot be run, "
            "unless the network is exported to ONNX"
        )


def channels(checkpoint: Checkpoint) -> tuple[int | None, int | None]:
    """Numbers of input and output channels, from the first and the last convolution; None: not found."""
    first = next((value for value in checkpoint.weights.values() if value.ndim >= 4), None)
    heads = [value for name, value in checkpoint.weights.items() if name.startswith("decoder.seg_layers.")]
    return (None if first is None else int(first.shape[1])), (int(heads[-1].shape[0]) if heads else None)


def _unwrapped(name: str) -> str:
    for wrapper in (*_WRAPPERS, *_WRAPPERS):
        name = name.removeprefix(wrapper)
    return name


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _mirror_axes(value: Any, path: Path) -> tuple[int, ...]:
    axes = () if value is None else tuple(value) if isinstance(value, list | tuple) else (value,)
    if any(isinstance(axis, bool) or not isinstance(axis, int) or not 0 <= axis <= 2 for axis in axes):
        raise ModelError(f"{path}: inference_allowed_mirroring_axes is {value!r}; axes are 0, 1 and 2")
    return tuple(sorted(set(axes)))


def _some(names: list[str], limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
