"""Load MONAI bundles as backends, and describe them without loading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from itk_infer.errors import ModelError
from itk_infer.model.backend import Backend, BackendOptions
from itk_infer.model.kinds.monai_bundle.bundle import Bundle, read_bundle
from itk_infer.model.runtimes.torch import TorchBackend, TorchModel
from itk_infer.model.spec_sources import Document, SpecSources, resolve
from itk_infer.spec import ModelSpec


def load(paths: Sequence[Path], spec_sources: SpecSources, options: BackendOptions) -> Backend:
    """Load a bundle. Nothing in it is run: its config is read as data, its weights without code.

    Args:
        paths: One path, see `itk_infer.model.kinds.monai_bundle.location.locate_bundle`.
        spec_sources: Further sources of the spec.
        options: Where and how to run it.

    Raises:
        ModelError: it cannot be read, something in it is not supported, or the weights do not fit the network.
        SpecError: a source of the spec is invalid.
    """
    (path,) = paths
    bundle = read_bundle(path.absolute())
    if bundle.weights.suffix == ".onnx":
        return _onnx(bundle, path, spec_sources, options)

    def build() -> TorchModel:
        spec, changes = _spec(bundle, path, spec_sources)
        notes = [*bundle.notes, *changes]
        if bundle.network is None:
            from itk_infer.model.kinds.torch_file import read_torchscript

            script = read_torchscript(bundle.weights)
            return TorchModel(script, script, spec, bundle.digest, bundle.batch, tuple(notes))
        from itk_infer.model.kinds.monai_bundle.weights import build_network, load_strictly, read_weights

        network = build_network(bundle.network)
        weights = read_weights(bundle.weights, bundle.keys)
        load_strictly(network, weights, bundle.weights, bundle.network, bundle.monai)
        outputs = bundle.network.outputs
        return TorchModel(network, network, spec, bundle.digest, bundle.batch, tuple(notes), outputs)

    return TorchBackend(build, options)


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
