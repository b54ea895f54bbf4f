"""Load MONAI bundles as backends, and describe them without loading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from itk_infer.errors import ModelError
from itk_infer.model.backend import Backend, BackendOptions
from itk_infer.model.kinds.monai_bundle.bundle import Bundle, read_bundle
from itk_infer.model.kinds.monai_bundle.network_def import NetworkDef
from itk_infer.model.kinds.monai_bundle.steps.described import steps_of
from itk_infer.model.kinds.monai_bundle.steps.layers import NotDescribed
from itk_infer.model.kinds.monai_bundle.weight_arrays import WeightArrays, read_weight_arrays
from itk_infer.model.kinds.network_steps.network import WITHOUT_TORCH, graph_network
from itk_infer.model.kinds.network_steps.step import Step
from itk_infer.model.runtimes.graph import GraphBackend, GraphModel
from itk_infer.model.runtimes.torch import TorchBackend, TorchModel
from itk_infer.model.runtimes.torch_choices import without_torch
from itk_infer.model.spec_sources import Document, SpecSources, resolve
from itk_infer.spec import ModelSpec

if TYPE_CHECKING:
    from itk_infer.options import Options

Described: TypeAlias = Callable[[], tuple[ModelSpec, list[str]]]  # the spec, and notes about it
_INSTALL = "pip install 'itk_infer[monai-torch]'"


def load(paths: Sequence[Path], spec_sources: SpecSources, options: BackendOptions) -> Backend:
    """Load a bundle. Nothing in it is run: its config is read as data, its weights without code.

    Args:
        paths: One path, see `itk_infer.model.kinds.monai_bundle.location.locate_bundle`.
        spec_sources: Further sources of the spec.
        options: Where and how to run it.

    Raises:
        ModelError: it cannot be read, something in it is not supported, the weights do not fit the network, or
            a package that it needs is not installed.
        SpecError: a source of the spec is invalid.
    """
    (path,) = paths
    bundle = read_bundle(path.absolute())
    if bundle.weights.suffix == ".onnx":
        return _onnx(bundle, path, spec_sources, options)
    described = partial(_spec, bundle, path, spec_sources)
    fast, device = without_torch(options.device, options.provider)
    reason: ModelError | NotDescribed | None = None
    if fast and bundle.network is not None:
        try:
            steps = steps_of(bundle.network)
            weights = read_weight_arrays(bundle.weights, bundle.keys, steps)
        except (ModelError, NotDescribed) as error:
            reason = error
        else:
            return GraphBackend(
                _graph_model(bundle, bundle.network, steps, weights, described, device, options), options
            )
    try:
        return TorchBackend(lambda: _torch_model(bundle, described), options)
    except ImportError as error:
        if isinstance(reason, ModelError):
            raise reason from None
        raise ModelError(_packages(bundle, reason, error)) from error


def _graph_model(
    bundle: Bundle,
    about: NetworkDef,
    steps: Sequence[Step],
    weights: WeightArrays,
    described: Described,
    device: Sequence[str],
    options: BackendOptions,
) -> GraphModel:
    """The model as OpenVINO runs it."""
    spec, changes = described()

    def by_torch() -> TorchBackend:
        plain = replace(cast("Options", options), device="cpu", provider="cpu", precision="fp32")
        return TorchBackend(lambda: _torch_model(bundle, described), plain)

    return GraphModel(
        graph_network(steps, [weights.values], weights.release),
        (),
        about.dimensions == 2,
        (about.inputs, about.outputs),
        spec,
        bundle.digest,
        (*device, WITHOUT_TORCH, *bundle.notes, *changes),
        by_torch,
        f"torch or MONAI is not installed: {_INSTALL}",
    )


def _torch_model(bundle: Bundle, described: Described) -> TorchModel:
    """The model as torch runs it.

    Raises:
        ImportError: a package is not installed.
    """
    spec, changes = described()
    notes = (*bundle.notes, *changes)
    if bundle.network is None:
        from itk_infer.model.kinds.torch_file import read_torchscript

        script = read_torchscript(bundle.weights)
        return TorchModel(script, script, spec, bundle.digest, bundle.batch, notes)
    from itk_infer.model.kinds.monai_bundle.weights import build_network, load_strictly, read_weights

    network = build_network(bundle.network)
    weights = read_weights(bundle.weights, bundle.keys)
    load_strictly(network, weights, bundle.weights, bundle.network, bundle.monai)
    return TorchModel(network, network, spec, bundle.digest, bundle.batch, notes, bundle.network.outputs)


def _packages(bundle: Bundle, reason: NotDescribed | None, error: ImportError) -> str:
    """The sentence about packages that this bundle needs."""
    if bundle.network is None:
        return f"{bundle.weights}: torch runs it ({error}): pip install 'itk_infer[torch]'"
    if reason is not None:
        return f"{bundle.source}: only MONAI and torch can run this network ({reason}; {error}): {_INSTALL}"
    return (
        f"bundles of MONAI are run by OpenVINO on a CPU, and else by torch and MONAI ({error}): pip install "
        "'itk_infer[monai]' for a CPU, or 'itk_infer[monai-torch]'"
    )


def _onnx(bundle: Bundle, path: Path, spec_sources: SpecSources, options: BackendOptions) -> Backend:
    """Load the ONNX file of a bundle; the spec of its config takes precedence over that of the file."""
    from itk_infer.model.kinds.onnx import load as load_onnx

    beside = spec_sources.beside(path.absolute())
    sources = replace(spec_sources, above=(_own(bundle), *beside))
    backend = load_onnx([bundle.weights], sources, options)
    backend.digest = bundle.digest
    backend.notes = (*bundle.notes, *backend.notes)
    return backend


def describe(path: Path, spec_sources: SpecSources) -> dict[str, Any]:
    """Describe a bundle and how each part of it is translated, JSON-ready. Needs neither torch nor MONAI.

    Raises:
        ModelError: something in it is not supported; the message has its name and place.
    """
    bundle = read_bundle(path.absolute())
    spec, changes = _spec(bundle, path, spec_sources)
    return {
        "sha256": bundle.digest,
        "spec": spec,
        "channels_in": len(spec.input.channels),
        "channels_out": bundle.network.outputs if bundle.network else None,
        "batch": bundle.batch or 1,
        "lines": [str(line) for line in bundle.lines],
        "notes": [*bundle.notes, *changes],
    }


def _own(bundle: Bundle) -> Document:
    return Document(f"{bundle.source} and metadata.json", bundle.document)


def _spec(bundle: Bundle, path: Path, spec_sources: SpecSources) -> tuple[ModelSpec, list[str]]:
    spec, changes = resolve([_own(bundle), *spec_sources.beside(path.absolute())], spec_sources.overrides)
    network = bundle.network
    if network is not None and network.outputs == 1 and spec.output.decision == "argmax":
        raise ModelError(f"{bundle.source}: takes the argmax of one output channel, which is always the same")
    return spec, changes
