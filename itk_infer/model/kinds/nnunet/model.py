"""Read a model of nnU-Net, all but the network itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from itk_infer.errors import ModelError
from itk_infer.model.kinds.nnunet.architecture import with_batch_norm
from itk_infer.model.kinds.nnunet.folder import NnunetFolder, open_folder
from itk_infer.model.kinds.nnunet.labels import Labels, read_labels
from itk_infer.model.kinds.nnunet.plans import Configuration, read_configuration
from itk_infer.model.kinds.nnunet.spec_document import channel_names, spec_document
from itk_infer.model.kinds.nnunet.weights import Checkpoint, channels, read_checkpoint


@dataclass(frozen=True, slots=True)
class NnunetModel:
    """A model of nnU-Net.

    Attributes:
        folder: The model's files.
        checkpoints: One per fold.
        configuration: Its configuration in the plans.
        labels: Meaning of the output channels.
        image_channels: Names of the image channels.
        document: The model spec, version 1.
        notes: Sentences for the user.
        digest: SHA-256 of checkpoints, plans and data set.
    """

    folder: NnunetFolder
    checkpoints: tuple[Checkpoint, ...]
    configuration: Configuration
    labels: Labels
    image_channels: tuple[str, ...]
    document: Mapping[str, Any]
    notes: tuple[str, ...]
    digest: str

    @property
    def previous_stage(self) -> str | None:
        """The configuration whose label map is a further input; None if there is no such input."""
        return self.configuration.previous_stage

    @property
    def previous_labels(self) -> tuple[int, ...]:
        """The values of that label map, each of which is one input channel after the image channels."""
        return self.labels.foreground if self.previous_stage is not None else ()

    @property
    def inputs(self) -> int:
        """Input channels of the network."""
        return len(self.image_channels) + len(self.previous_labels)


def read_model(path: Path, folds: Sequence[str] | None = None, checkpoint: str | None = None) -> NnunetModel:
    """Read a model; see `open_folder` for the arguments.

    Raises:
        ModelError: it cannot be read, or has settings that are not supported or contradict each other.
        ConfigError: path and options contradict each other.
    """
    folder = open_folder(path, folds, checkpoint)
    read = tuple(read_checkpoint(fold.checkpoint) for fold in folder.folds)
    first = read[0]
    name = first.configuration or _from_name(folder)
    notes = [*folder.notes, *_differences(read, name)]
    configuration = read_configuration(folder.plans, name, folder.plans_source)
    if _other_plans(first, name, configuration):
        notes.append(
            f"plans.json differs from the plans in {first.path.name}; plans.json is used, as nnU-Net does"
        )
    if _has_batch_norm(first, configuration):
        configuration = replace(configuration, architecture=with_batch_norm(configuration.architecture))
        notes.append(
            f"the weights are those of batch normalisation, as {first.trainer or 'its trainer'} builds it"
        )
    labels = read_labels(folder.dataset, folder.dataset_source)
    document, more = spec_document(
        configuration,
        folder.dataset,
        labels,
        first.mirror_axes,
        trainer=first.trainer,
        source=folder.dataset_source,
    )
    if configuration.previous_stage is not None:
        document["input"]["previous_labels"] = list(labels.foreground)
    model = NnunetModel(
        folder,
        read,
        configuration,
        labels,
        channel_names(folder.dataset, folder.dataset_source),
        document,
        (*notes, *more, *_about(first, configuration)),
        _digest(folder),
    )
    for one in read:
        _compare_channels(model, one)
    return model


def _from_name(folder: NnunetFolder) -> str:
    """The configuration in a folder's name, ``Trainer__Plans__configuration``."""
    parts = folder.root.name.split("__")
    if len(parts) != 3:
        raise ModelError(
            f"{folder.folds[0].checkpoint}: does not name its configuration, and the folder {folder.root.name} "
            "is not called Trainer__Plans__configuration; give it such a name"
        )
    return parts[2]


def _differences(read: Sequence[Checkpoint], name: str) -> list[str]:
    first = read[0]
    for other in read[1:]:
        if other.configuration not in ("", name):
            raise ModelError(
                f"{other.path}: is of the configuration {other.configuration}, and {first.path} of {name}; "
                "folds of one model have the same"
            )
        if other.mirror_axes != first.mirror_axes:
            return [
                f"folds allow different mirror axes; those of {first.path.parent.name} are used, as nnU-Net does"
            ]
    return []


def _other_plans(checkpoint: Checkpoint, name: str, configuration: Configuration) -> bool:
    """Whether the checkpoint was trained with plans of another meaning."""
    if checkpoint.plans is None:
        return False
    try:
        trained = read_configuration(checkpoint.plans, name, str(checkpoint.path))
    except ModelError:
        return True
    names = configuration.plans_name, configuration.dataset_name
    return replace(trained, plans_name=names[0], dataset_name=names[1]) != configuration


def _has_batch_norm(checkpoint: Checkpoint, configuration: Configuration) -> bool:
    """Whether weights have running statistics, but plans no batch norm: nnUNetTrainerBN replaces the norm."""
    about = configuration.architecture
    plain = about.norm == "Instance" and not about.norm_keywords.get("track_running_stats")
    return plain and any(name.endswith(".norm.running_mean") for name in checkpoint.weights)


def _compare_channels(model: NnunetModel, checkpoint: Checkpoint) -> None:
    """Raise if JSON files are of another model, which is detected by numbers of channels and labels."""
    inputs, outputs = channels(checkpoint)
    source = model.folder.dataset_source
    if inputs is not None and inputs != model.inputs:
        further = (
            f" and {len(model.previous_labels)} labels of {model.previous_stage}" if model.previous_stage else ""
        )
        raise ModelError(
            f"{source}: names {len(model.image_channels)} input channels{further}, and the weights in "
            f"{checkpoint.path} take {inputs}; is it of another model?"
        )
    if outputs is not None and outputs != model.labels.channels:
        raise ModelError(
            f"{source}: its labels are {model.labels.channels} output channels, and the weights in "
            f"{checkpoint.path} have {outputs}; is it of another model?"
        )


def _about(checkpoint: Checkpoint, configuration: Configuration) -> list[str]:
    notes = [f"configuration {configuration.name}, trained by {checkpoint.trainer or 'an unknown trainer'}"]
    if not checkpoint.mirror_axes:
        notes.append("its trainer allows no mirroring")
    notes.append("nnU-Net stores no orientation: images must be stored as those it was trained on")
    return notes


def _digest(folder: NnunetFolder) -> str:
    digest = hashlib.sha256()
    for fold in folder.folds:
        with fold.checkpoint.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    for content in (folder.plans, folder.dataset):  # the order of keys matters: it is the order of regions
        digest.update(json.dumps(content, default=str).encode())
    return digest.hexdigest()
