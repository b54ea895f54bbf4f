"""Backends as their kinds load them, with options given one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from itk_infer.model.backend import Backend
from itk_infer.model.registry import load_backend
from itk_infer.model.runtimes.torch import TorchBackend, TorchModel
from itk_infer.model.spec_sources import SpecSources
from itk_infer.options import Options
from itk_infer.spec import ModelSpec


def mmengine_backend(
    config: Path, checkpoint: Path, sources: SpecSources | None = None, **options: Any
) -> Backend:
    return load_backend("mmengine", (config, checkpoint), sources or SpecSources(), Options(**options))


def torch_backend(
    network: Any, spec: ModelSpec | None = None, *, notes=(), batch_hint=None, **options: Any
) -> TorchBackend:
    """A network in the torch runtime, called as itself; or what builds one, if that is no network."""
    from torch import nn

    def build() -> TorchModel:
        built = network if isinstance(network, nn.Module) else network()
        return TorchModel(built, built, spec or ModelSpec(), "digest", batch_hint, notes)

    return TorchBackend(build, Options(**options))
