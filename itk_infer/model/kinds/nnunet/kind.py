"""Load model folders of nnU-Net v2 as backends."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from itk_infer.errors import ConfigError, ModelError
from itk_infer.model.backend import BackendOptions
from itk_infer.model.kinds.network_steps.network import WITHOUT_TORCH, graph_network
from itk_infer.model.kinds.network_steps.step import weights_of
from itk_infer.model.kinds.nnunet.graph import has_graph, steps_of
from itk_infer.model.kinds.nnunet.location import is_nnunet, previous_stage_folder
from itk_infer.model.kinds.nnunet.model import NnunetModel, read_model
from itk_infer.model.kinds.nnunet.postprocessing import find_postprocessing, read_postprocessing
from itk_infer.model.kinds.nnunet.weights import Checkpoint, check_weights
from itk_infer.model.runtimes.graph import GraphBackend, GraphModel, GraphNetwork
from itk_infer.model.runtimes.torch import TorchBackend, TorchModel
from itk_infer.model.runtimes.torch_choices import without_torch
from itk_infer.model.spec_sources import Document, SpecSources, resolve
from itk_infer.options import Options
from itk_infer.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn
Described: TypeAlias = tuple[ModelSpec, tuple[str, ...]]
NnunetBackend: TypeAlias = GraphBackend | TorchBackend


def load(paths: Sequence[Path], spec_sources: SpecSources, options: BackendOptions) -> NnunetBackend:
    """Load a model folder as one network, whose logits are the mean over its folds.

    Nothing in the folder is run: networks are built from its plans, and weights are read without code. For a
    cascade, the previous stage is loaded, too.

    Args:
        paths: One path, see `itk_infer.model.kinds.nnunet.location.locate`.
        spec_sources: Further sources of the spec.
        options: Folds and checkpoint to use; where and how to run them.

    Raises:
        ModelError: the folder cannot be read, is of another version, has unsupported settings, or the
            weights are not those of its network; or torch is needed and not installed.
        ConfigError: the path and the options contradict each other.
        SpecError: a source of the spec is invalid.
    """
    return _load(paths[0], spec_sources, options, bool(options.nnunet_postprocessing))


def _load(
    path: Path, spec_sources: SpecSources, options: BackendOptions, postprocessing: bool | None
) -> NnunetBackend:
    """See `load`.

    Args:
        path: The model folder.
        spec_sources: See `load`.
        options: See `load`.
        postprocessing: Whether nnU-Net's own is applied; None for the first stage of a cascade, whose label map
            is passed to the second stage without post-processing.
    """
    model: NnunetModel | None = None

    def read() -> NnunetModel:
        nonlocal model
        model = model or read_model(path.absolute(), options.folds, options.checkpoint)
        return model

    def described() -> Described:
        return _described(read(), path, spec_sources, postprocessing)

    fast, device = without_torch(options.device, options.provider)
    backend: GraphBackend | TorchBackend
    if fast and has_graph(read().configuration.architecture):
        backend = GraphBackend(_graph_model(read(), described(), device, options), options)
    else:
        try:
            backend = TorchBackend(lambda: _torch_model(read(), described()), options)
        except ImportError as error:
            raise ModelError(
                f"model folders of nnU-Net are run by OpenVINO on a CPU, and else by torch ({error}): pip install "
                "'itk_infer[nnunet]' for a CPU, or 'itk_infer[torch]'"
            ) from error
    loaded = read()
    if loaded.previous_stage is not None:
        _add_previous_stage(backend, loaded, spec_sources, options)
    elif options.previous_stage is not None:
        raise ConfigError("`previous_stage`: this model is no cascade and has no previous stage; leave it out")
    return backend


def _add_previous_stage(
    backend: NnunetBackend, model: NnunetModel, spec_sources: SpecSources, options: BackendOptions
) -> None:
    """Load a cascade's first stage, or use the folder of its label maps that the user gave."""
    name, given = model.configuration.name, options.previous_stage
    if given is not None and given.is_dir() and not is_nnunet(given):
        backend.given_masks = given
        earlier = _digest_of_files(given)
        backend.notes += (f"{name} also sees the label maps in {given}",)
    else:
        stage = previous_stage_folder(model.folder.root, model.previous_stage or "", given)
        step_size = spec_sources.overrides.step_size  # other overrides are for the second stage's spec
        backend.previous = _load(stage, SpecSources(Options(step_size=step_size)), options, None)
        earlier = backend.previous.digest
        backend.notes += (
            f"{name} also sees the label map of {stage.name}, which is run first",
            *(f"first stage: {note}" for note in backend.previous.notes if note not in backend.notes),
        )
    backend.digest = hashlib.sha256(f"{backend.digest} {earlier}".encode()).hexdigest()


def _digest_of_files(folder: Path) -> str:
    """SHA-256 of a folder's files and their names: other label maps make results out of date."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def _described(
    model: NnunetModel, path: Path, spec_sources: SpecSources, postprocessing: bool | None
) -> Described:
    """The spec, and notes for the user."""
    rules, note = ({}, []) if postprocessing is None else _postprocessing(model, postprocessing)
    if rules and spec_sources.overrides.postprocess is not None:
        raise ConfigError("`nnunet_postprocessing` and `postprocess` exclude each other: give one of them")
    document = {**model.document, "output": {**model.document["output"], **rules}}
    own = Document(f"{model.folder.root} (plans and dataset)", document)
    spec, changes = resolve([own, *spec_sources.beside(path.absolute())], spec_sources.overrides)
    return spec, (*model.notes, *note, *changes)


def _torch_model(model: NnunetModel, described: Described) -> TorchModel:
    spec, notes = described
    network = build_network(model)
    return TorchModel(
        network,
        network,
        spec,
        model.digest,
        notes=notes,
        channels_out=model.labels.channels,
        trace_size=_smallest_window(model),
        folds=tuple(getattr(network, "networks", ())),
    )


def _graph_model(
    model: NnunetModel, described: Described, device: Sequence[str], options: BackendOptions
) -> GraphModel:
    """The model as OpenVINO runs it.

    Raises:
        ModelError: the weights do not fit the network that the plans describe.
    """
    spec, notes = described
    about, channels = model.configuration.architecture, (model.inputs, model.labels.channels)
    steps = steps_of(about, *channels)
    for checkpoint in model.checkpoints:
        check_weights(weights_of(steps), checkpoint, about)

    def network(*checkpoints: Checkpoint) -> GraphNetwork:
        def release() -> None:
            for checkpoint in checkpoints:
                checkpoint.release()

        return graph_network(steps, [checkpoint.weights for checkpoint in checkpoints], release)

    def by_torch() -> TorchBackend:
        plain = replace(cast("Options", options), device="cpu", provider="cpu", precision="fp32")
        return TorchBackend(lambda: _torch_model(model, described), plain)

    return GraphModel(
        network(*model.checkpoints),
        tuple(network(checkpoint) for checkpoint in model.checkpoints) if len(model.checkpoints) > 1 else (),
        about.dimensions == 2,
        channels,
        spec,
        model.digest,
        (*device, WITHOUT_TORCH, *notes),
        by_torch,
    )


def _postprocessing(model: NnunetModel, wanted: bool) -> tuple[dict[str, Any], list[str]]:
    """Keys of the spec's ``output`` for nnU-Net's own post-processing, if it is wanted, and notes about it."""
    folder = model.folder
    try:
        path = find_postprocessing(folder.root, [fold.name for fold in folder.folds])
    except ModelError as error:
        if wanted:
            raise
        return {}, [f"nnU-Net's post-processing is not applied: {error}"]
    if path is None:
        if wanted:
            raise ConfigError(
                f"`nnunet_postprocessing`: {folder.root} has no "
                "crossval_results*/postprocessing.json; leave it out"
            )
        return {}, []
    below = path.relative_to(folder.root)
    if not wanted:
        return {}, [f"{below} is there and is not applied; `nnunet_postprocessing=True` applies it"]
    values = [label.value for label in model.labels.painted]
    rules = read_postprocessing(path, values, regions=model.labels.regions)
    words = [" and ".join(map(str, rule["labels"])) for rule in rules]
    done = "; ".join(f"the largest component of label {each} is kept" for each in words)
    return {"postprocessing": rules}, [f"{below} is applied: {done or 'nothing is to be done'}"]


def _smallest_window(model: NnunetModel) -> tuple[int, int, int]:
    """Size Z Y X of a window that is two voxels wide along each axis in the coarsest stage."""
    strides = model.configuration.architecture.strides
    sizes = [2 * math.prod(axis) for axis in zip(*strides, strict=True)]
    z, y, x = sizes if len(sizes) == 3 else (1, *sizes)
    return z, y, x


def build_network(model: NnunetModel) -> nn.Module:
    """Build the network of a model with its weights; for several folds, a network with their mean logits.

    Raises:
        ModelError: the weights do not fit the network that the plans describe.
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
