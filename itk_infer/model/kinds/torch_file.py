"""Load TorchScript and torch.export files as backends, after a check of the program in them."""

from __future__ import annotations

import hashlib
import json
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itk_infer.errors import ModelError
from itk_infer.files.zip_archive import ZipArchive
from itk_infer.model.backend import BackendOptions
from itk_infer.model.kinds.torch_location import entry_names, is_exported, is_torchscript
from itk_infer.model.kinds.torchscript_scan import scan_torchscript
from itk_infer.model.runtimes.torch import TorchBackend, TorchModel, first_line
from itk_infer.model.spec_json import MAX_SPEC_BYTES
from itk_infer.model.spec_sources import Document, SpecSources, resolve

if TYPE_CHECKING:
    from torch import nn

PROGRAM = (
    "a TorchScript file is a program: its operators were compared with those that networks need, but nothing "
    "bounds how long it runs"
)


def load(paths: Sequence[Path], spec_sources: SpecSources, options: BackendOptions) -> TorchBackend:
    """Load a TorchScript file (``.ts``, ``.pt``) or a torch.export archive (``.pt2``).

    Args:
        paths: The file.
        spec_sources: Further sources of the spec.
        options: Where and how to run it.

    Raises:
        ModelError: the file has no program, its program is refused, or torch cannot load it.
        ConfigError: no source of the spec has intensity steps.
    """
    (path,) = paths

    def build() -> TorchModel:
        if is_torchscript(path):
            network, notes = read_torchscript(path), [PROGRAM]
        elif is_exported(path):
            from itk_infer.model.kinds.torch_export import read_exported

            network, notes = read_exported(path), []
        else:
            raise ModelError(
                f"{path}: holds weights or a pickled module, and no program to run them; give the folder of the "
                "model (MMEngine config, bundle of MONAI, model folder of nnU-Net), or save the network with "
                "torch.jit.save, or export it to ONNX"
            )
        own, more = embedded_spec(path)
        spec, changes = resolve([*own, *spec_sources.beside(path.absolute())], spec_sources.overrides)
        return TorchModel(network, network, spec, _digest(path), notes=(*notes, *more, *changes))

    return TorchBackend(build, options)


def read_torchscript(path: Path) -> nn.Module:
    """Load the network in a TorchScript file on the CPU, after a check of its program.

    Raises:
        ModelError: the program is refused, or torch cannot load it.
    """
    import torch

    names = (schema.name for schema in torch._C._jit_get_all_schemas())
    scan_torchscript(path, frozenset(name.removeprefix("aten::") for name in names if name.startswith("aten::")))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit announces its successor
            network: nn.Module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    except Exception as error:  # torch's compiler and archive reader raise many classes
        raise ModelError(
            f"{path}: torch {torch.__version__} cannot load it ({first_line(error)}); it may be of a newer torch"
        ) from error
    return network.eval()


def embedded_spec(path: Path) -> tuple[list[Document], list[str]]:
    """Read the model spec among the extra files of an archive; returns documents and notes.

    This is ``extra/itk_infer.json``, or MONAI's ``extra/metadata.json`` and ``extra/inference.json``.

    Raises:
        ModelError: one of them cannot be read.
    """
    own = _extra(path, "itk_infer.json")
    if own is not None:
        return [Document(f"extra/itk_infer.json in {path.name}", own)], []
    metadata, config = _extra(path, "metadata.json"), _extra(path, "inference.json")
    if metadata is None or config is None:
        return [], []
    from itk_infer.model.kinds.monai_bundle.bundle import spec_of_config

    source = f"extra/inference.json in {path.name}"
    document, notes = spec_of_config(config, metadata, source)
    return [Document(source, document)], [f"the model spec was made of {source}", *notes]


def _extra(path: Path, name: str) -> Mapping[str, Any] | None:
    """Read a JSON object among the extra files; None if there is none."""
    found = [entry for entry in entry_names(path) if entry.endswith(f"/extra/{name}")]
    if len(found) != 1:
        return None
    with ZipArchive(path) as archive:
        if archive.getinfo(found[0]).file_size > MAX_SPEC_BYTES:
            raise ModelError(f"{path}: its extra/{name} is larger than 1 MiB")
        try:
            content = json.loads(archive.read(found[0]))
        except (ValueError, RecursionError, zipfile.BadZipFile) as error:
            raise ModelError(f"{path}: its extra/{name} is not valid JSON ({error})") from None
    return content if isinstance(content, Mapping) else None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
