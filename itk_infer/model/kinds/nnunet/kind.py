"""Model folders of nnU-Net v2: loads one as a backend."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from itk_infer.errors import ConfigError
from itk_infer.model.backend import BackendOptions
from itk_infer.model.kinds.nnunet.location import is_nnunet, previous_stage_folder
from itk_infer.model.kinds.nnunet.model import NnunetModel, read_model
from itk_infer.model.runtimes.torch import TorchBackend, TorchModel
from itk_infer.model.spec_sources import Document, SpecSources, resolve
from itk_infer.options import Options

if TYPE_CHECKING:
    from torch import nn


def load(paths: Sequence[Path], spec_sources: SpecSources, options: BackendOptions) -> TorchBackend:
    """Load a model folder: the networks of its folds as one, whose logits are the mean of theirs.

    Nothing in the folder is run: networks are built from its plans, and weights are read without code. Of a
    cascade, the previous stage is loaded, too.

    Args:
        paths: One path, see `itk_infer.model.kinds.nnunet.location.locate`.
        spec_sources: What else speaks about the model.
        options: Which folds and checkpoint; where and how to run them.

    Raises:
        ModelError: the folder cannot be read, is of another version, something in it is not understood, or the
            weights are not those of its network.
        ConfigError: the path and the options contradict each other.
        SpecError: a source of the spec says something invalid.
    """
    (path,) = paths
    models: list[NnunetModel] = []

    def build() -> TorchModel:
        models.append(read_model(path.absolute(), options.folds, options.checkpoint))
        return _build(models[0], path, spec_sources)

    backend = TorchBackend(build, options)
    (model,) = models
    if model.previous_stage is not None:
        _add_previous_stage(backend, model, spec_sources, options)
    elif options.previous_stage is not None:
        raise ConfigError("`previous_stage`: this model is no cascade and has no previous stage; leave it out")
    return backend


def _add_previous_stage(
    backend: TorchBackend, model: NnunetModel, spec_sources: SpecSources, options: BackendOptions
) -> None:
    """Load a cascade's first stage, or take the folder of its label maps that the user named."""
    name, given = model.configuration.name, options.previous_stage
    if given is not None and given.is_dir() and not is_nnunet(given):
        backend.given_masks = given
        earlier = _digest_of_files(given)
        backend.notes += (f"{name} also sees the label maps in {given}",)
    else:
        stage = previous_stage_folder(model.folder.root, model.previous_stage or "", given)
        step_size = spec_sources.overrides.step_size  # all else is about this stage's spec
        backend.previous = load([stage], SpecSources(Options(step_size=step_size)), options)
        earlier = backend.previous.digest
        backend.notes += (
            f"{name} also sees the label map of {stage.name}, which is run first",
            *(f"first stage: {note}" for note in backend.previous.notes if note not in backend.notes),
        )
    backend.digest = hashlib.sha256(f"{backend.digest} {earlier}".encode()).hexdigest()


def _digest_of_files(folder: Path) -> str:
    """SHA-256 of a folder's files and their names: with another label map, results are out of date."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def _build(model: NnunetModel, path: Path, spec_sources: SpecSources) -> TorchModel:
    own = Document(f"{model.folder.root} (plans and dataset)", model.document)
    spec, changes = resolve([own, *spec_sources.beside(path.absolute())], spec_sources.overrides)
    network = build_network(model)
    return TorchModel(network, network, spec, model.digest, notes=(*model.notes, *changes))


def build_network(model: NnunetModel) -> nn.Module:
    """The network of a model with its weights; of several folds, the mean of theirs.

    Raises:
        ModelError: the weights are not those of the network that the plans describe.
    """
    from itk_infer.model.kinds.nnunet.networks import MeanOfFolds, build
    from itk_infer.model.kinds.nnunet.weights import load_strictly

    about = model.configuration.architecture
    networks = []
    for checkpoint in model.checkpoints:
        network = build(about, model.inputs, model.labels.channels)
        load_strictly(network, checkpoint, about)
        networks.append(network)
    return networks[0] if len(networks) == 1 else MeanOfFolds(networks)
