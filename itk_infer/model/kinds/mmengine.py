"""Networks described by an MMEngine config, MMSegmentation's among them."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itk_infer.errors import ModelError
from itk_infer.model.backend import BackendOptions
from itk_infer.model.kinds.mmengine_config import spec_documents
from itk_infer.model.kinds.mmengine_folder import model_files
from itk_infer.model.kinds.mmengine_network import build_network, own_modules, quiet_imports, read_config
from itk_infer.model.kinds.project_code import code_digest, importable
from itk_infer.model.kinds.weight_names import load_weights
from itk_infer.model.runtimes.torch import Call, TorchBackend, TorchModel
from itk_infer.model.spec_sources import SpecSources, resolve

if TYPE_CHECKING:
    from torch import Tensor


def load(paths: Sequence[Path], spec_sources: SpecSources, options: BackendOptions) -> TorchBackend:
    """Load the network of a config with its weights.

    The config is Python and runs as code: only pass a path that the user has given. The weights are never run.

    Args:
        paths: A config with a ``model``, classic (``_base_``) or lazy (``read_base``), and its checkpoint, see
            `load_state_dict`; or the folder that holds one of each.
        spec_sources: Further sources of the spec.
        options: Where and how to run it.

    Raises:
        ModelError: a package or the name of a network is missing, the weights do not fit or cannot be
            trusted, or the device is absent.
        SpecError: the config or another source of the spec is invalid.
    """
    config, checkpoint = paths if len(paths) == 2 else model_files(paths[0])
    return TorchBackend(lambda: _build(config, checkpoint, spec_sources), options)


def _build(config: Path, checkpoint: Path, spec_sources: SpecSources) -> TorchModel:
    with quiet_imports(), importable(config.parent):
        settings = read_config(config)
        documents, ignored, batch_hint = spec_documents(settings.to_dict(), config.name)
        spec, changes = resolve([*documents, *spec_sources.beside(config, checkpoint)], spec_sources.overrides)
        text: str = settings.pretty_text
        network = build_network(settings, config)
        code = code_digest(config, own_modules(settings, network))
    loaded = load_weights(network, checkpoint)
    return TorchModel(
        network,
        _call_form(network, config),
        spec,
        _digest(checkpoint, text.encode() + code),
        batch_hint,
        (*ignored, *loaded, *changes),
    )


def _digest(checkpoint: Path, rest: bytes) -> str:
    with checkpoint.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(rest)
    return digest.hexdigest()


def _call_form(network: Any, config: Path) -> Call:
    if hasattr(network, "encode_decode"):  # a segmentor of MMSegmentation: resizes to ori_shape

        def encode_decode(inputs: Tensor) -> Any:
            size = tuple(inputs.shape[2:])
            meta = {"ori_shape": size, "img_shape": size, "pad_shape": size, "padding_size": [0, 0, 0, 0]}
            return network.encode_decode(inputs, [dict(meta) for _ in range(len(inputs))])

        return encode_decode
    if "mode" in inspect.signature(network.forward).parameters:  # any BaseModel of MMEngine
        return lambda inputs: network(inputs, mode="tensor")
    if hasattr(network, "backbone"):  # which is the whole network
        return lambda inputs: network.backbone(inputs)
    raise ModelError(
        f"{config}: {type(network).__name__} has neither encode_decode nor forward(inputs, mode='tensor') "
        "nor a backbone; wrap it: model = dict(type='Segmentor3D', network=dict(...))"
    )
