"""Model folders of nnU-Net v2: loads one as a backend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from itk_infer.model.backend import BackendOptions
from itk_infer.model.kinds.nnunet.model import NnunetModel, read_model
from itk_infer.model.runtimes.torch import TorchBackend, TorchModel
from itk_infer.model.spec_sources import Document, SpecSources, resolve

if TYPE_CHECKING:
    from torch import nn


def load(paths: Sequence[Path], spec_sources: SpecSources, options: BackendOptions) -> TorchBackend:
    """Load a model folder: the networks of its folds as one, whose logits are the mean of theirs.

    Nothing in the folder is run: networks are built from its plans, and weights are read without code.

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
    return TorchBackend(lambda: _build(path.absolute(), spec_sources, options), options)


def _build(path: Path, spec_sources: SpecSources, options: BackendOptions) -> TorchModel:
    model = read_model(path, options.folds, options.checkpoint)
    own = Document(f"{model.folder.root} (plans and dataset)", model.document)
    spec, changes = resolve([own, *spec_sources.beside(path)], spec_sources.overrides)
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
