"""Export a loaded model to one ONNX file, which gets its name after its outputs were compared with the model's."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from itk_infer._version import __version__
from itk_infer.errors import ConfigError, InferenceError, ModelError
from itk_infer.files.commit import commit_file, partial_path, remove, writing
from itk_infer.model.backend import Backend
from itk_infer.model.export.onnx_file import LARGEST_FILE, write_onnx
from itk_infer.model.export.parity import EXACT, HALF, Bound, Comparison, compare
from itk_infer.model.export.sizes import compared_sizes, example_size
from itk_infer.model.export.torch_export import export_torch
from itk_infer.model.kinds.onnx import OnnxBackend
from itk_infer.model.runtimes import openvino
from itk_infer.model.runtimes.onnxruntime import version_of
from itk_infer.model.runtimes.torch import TorchBackend
from itk_infer.model.spec_sources import SpecSources
from itk_infer.options_of_models import Provider
from itk_infer.spec.model_spec import Triplet

ORIGIN = "itk_infer_origin"  # metadata key: which model, libraries and options the file was made with
Verify = Callable[[Path, Bound], str]
NO_ENSEMBLE = "an ensemble is not one network: export its models one by one; they are listed in the ensemble file"
RUNTIMES: tuple[tuple[Provider, str], ...] = (("cpu", "onnxruntime"), ("openvino", "openvino"))


@dataclass(frozen=True, slots=True)
class Exported:
    """The files that were written, and how they were compared.

    Attributes:
        files: The ONNX file; before it the file of its weights, if they are separate.
        comparisons: One per library that ran the file.
        notes: Sentences for the user.
        verified: The sentences that `verify` returned.
    """

    files: tuple[Path, ...]
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]
    verified: tuple[str, ...] = ()


def export_onnx(
    backend: Backend,
    final: Path,
    *,
    free_size: bool = False,
    half: bool = False,
    verify: Sequence[Verify] = (),
    sources: Sequence[str] = (),
    largest: int = LARGEST_FILE,
) -> Exported:
    """Export a model.

    Args:
        backend: The model, loaded on the CPU in fp32, run by torch or onnxruntime.
        final: The file to write; an older file of this name is replaced.
        free_size: Leave the window size free. It always is for models that take whole volumes.
        half: Store the weights in half precision.
        verify: Called with the finished file before it gets its name, and the bound that holds for it; each
            returns a sentence, or raises.
        sources: Names of the model's files, for the metadata.
        largest: See `write_onnx`.

    Raises:
        ConfigError: this model is not one network.
        ModelError: the network cannot be exported, or the file's outputs differ from the model's.
        OutputError: the file cannot be written.
    """
    network = _one_network(backend, free_size)
    bound = HALF if half else EXACT
    flat = backend.shape.size[0] == 1 and isinstance(backend, TorchBackend)
    free = free_size or backend.spec.window.patch_size is None
    folder = partial_path(final)
    try:
        with writing(final):
            final.parent.stat()
            folder.mkdir()
            staged = folder / final.name
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            source, sizes, notes = _network_file(network, Path(scratch), flat=flat, free=free)
            metadata = {
                "itk_infer": json.dumps(backend.spec.to_dict()),
                ORIGIN: json.dumps(_origin(backend, sources, notes[:1], half=half)),
            }
            if backend.shape.batch_hint is not None:
                metadata["inference_config"] = json.dumps({"forward_batch_windows": backend.shape.batch_hint})
            with writing(final):
                written = write_onnx(source, staged, metadata, half=half, largest=largest)
        comparisons, more = _compare(backend, staged, sizes, bound)
        verified = tuple(check(staged, bound) for check in verify)
        files = [final.with_name(file.name) for file in written]
        for file, name in zip(written, files, strict=True):
            commit_file(file, name)
    finally:
        remove(folder)
    return Exported(tuple(files), comparisons, (*notes, *more), verified)


def _one_network(backend: Backend, free_size: bool) -> TorchBackend | OnnxBackend:
    """Return the model if it is a single network; otherwise raise `ConfigError`."""
    if getattr(backend, "previous", None) is not None:
        raise ConfigError(
            "this model is the second stage of a cascade and takes the first stage's label map, which no ONNX "
            "file computes; export the first stage, or another configuration"
        )
    if not isinstance(backend, TorchBackend | OnnxBackend):
        raise ConfigError(NO_ENSEMBLE)
    if free_size and isinstance(backend, OnnxBackend):
        raise ConfigError("an ONNX file keeps its sizes; leave `free_size` out")
    return backend


def _network_file(
    backend: TorchBackend | OnnxBackend, scratch: Path, *, flat: bool, free: bool
) -> tuple[Path, list[Triplet], list[str]]:
    """Write the bare network: its file, window sizes to compare it at, notes (the first one on the exporter)."""
    rule = backend.spec.window
    if isinstance(backend, OnnxBackend):
        fixed = backend.shape.size
        z, y, x = (n or m for n, m in zip(fixed, example_size(rule, flat=fixed[0] == 1, free=False), strict=True))
        return backend.path, [(z, y, x)], ["copied from an ONNX file"]
    example = example_size(rule, flat=flat, free=free)
    path = scratch / "network.onnx"
    channels = backend.shape.channels_in or len(backend.spec.input.channels)
    exporter, *notes = export_torch(backend.as_module(), path, channels, example, flat=flat, free=free)
    return path, compared_sizes(example, rule, flat=flat, free=free), [f"exported by {exporter}", *notes]


def _origin(backend: Backend, sources: Sequence[str], exporter: Sequence[str], *, half: bool) -> dict[str, object]:
    versions = {name: version_of(name) for name in ("torch", "onnx", "onnxscript", "monai", "mmengine")}
    return {
        "itk_infer": __version__,
        "files": list(sources),
        "sha256": backend.digest,
        "how": " ".join(exporter),
        "weights": "fp16" if half else "fp32",
        "versions": {name: version for name, version in versions.items() if version},
    }


def _compare(
    backend: Backend, staged: Path, sizes: Sequence[Triplet], bound: Bound
) -> tuple[tuple[Comparison, ...], list[str]]:
    """Compare the file's outputs with the model's, in each library that can run the file.

    Raises:
        ModelError: they differ, or onnxruntime cannot run the file.
    """
    results, notes = [], []
    hint = "; leave `free_size` out" if len(sizes) > 1 else ""
    for provider, name in RUNTIMES:
        if provider == "openvino" and not openvino.openvino_installed():
            notes.append("OpenVINO is not installed here, so the file was not compared with it")
            continue
        try:
            file = OnnxBackend(staged, device="cpu", provider=provider, sources=SpecSources())
            result = compare(backend, file, name, sizes)
        except (InferenceError, ModelError) as error:
            if provider == "cpu":
                raise ModelError(
                    f"the exported network does not run: {error}{hint}; nothing was written"
                ) from error
            notes.append(f"OpenVINO cannot run the exported network ({error}); onnxruntime can")
            continue
        if not result.within(bound):
            raise ModelError(
                f"the exported file's outputs differ from the model's ({result}; allowed: {bound.error:g} of the "
                f"largest output, with {bound.agreement:.2%} equal labels){hint}; nothing was written"
            )
        if result.relative > bound.usual:
            notes.append(f"{name}: the difference is larger than usual, but allowed")
        results.append(result)
    return tuple(results), notes
