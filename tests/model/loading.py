"""Backends as their kinds load them, with options given one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from itk_infer.model.backend import Backend
from itk_infer.model.registry import load_backend
from itk_infer.model.runtimes.torch import TorchBackend, TorchModel
from itk_infer.model.spec_sources import SpecSources
from itk_infer.options import Running


def mmengine_backend(
    config: Path, checkpoint: Path, *, sources: SpecSources | None = None, **options: Any
) -> Backend:
    return load_backend("mmengine", (config, checkpoint), sources or SpecSources(), Running(**options))


def torch_backend(model: TorchModel, **options: Any) -> TorchBackend:
    return TorchBackend(lambda: model, Running(**options))
