"""Options of the Python API: one table, checked in one place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypedDict, get_args

from itk_infer.errors import ConfigError
from itk_infer.model.backend import Provider
from itk_infer.model.batch_size.search import BatchChoice
from itk_infer.model.runtimes.precision import PrecisionChoice
from itk_infer.model.spec_sources import Overrides, SpecSources
from itk_infer.spec.model_spec import Blend, Triplet


class Options(TypedDict, total=False):
    """Keyword options of `Predictor.from_onnx` and `Predictor.from_mmengine`."""

    device: str  # "auto" (default), "cpu", "cuda" or "cuda:N"
    provider: Provider  # "auto" (default), "cpu", "openvino", "cuda" or "tensorrt"
    precision: PrecisionChoice  # "auto" (default, as stored), "half", "fp32", "fp16" or "bf16"
    threads: int  # on a CPU; default: as many as cores may be used
    spec: str | Path  # a spec file above what the model itself says
    window_level: float
    window_width: float
    patch_size: Triplet  # Z, Y, X
    patch_stride: Triplet  # Z, Y, X
    blend: Blend
    batch: BatchChoice  # windows a call, or "auto": found on the first case
    batch_cache: bool | str | Path  # where found batches are kept; True: the user's cache folder; False: nowhere
    tta: bool  # average over the mirrorings that the model's spec allows
    skip_empty: bool | float  # True: constant windows once; a number: also windows nowhere above it
    crop_foreground: float  # run only the box of voxels above this, after intensity
    max_vram: int  # bytes of a GPU that may be used; default: what is free
    max_ram: int  # bytes a case may need besides the network; default: what machine, container and ulimit leave
    orientation: str  # of label maps: a code, default "LPI", or "input"


def check_options(options: Options) -> None:
    """Raise unless the options are known, and each is of its kind.

    Raises:
        TypeError: an option is unknown, as Python itself would say.
        ConfigError: a value is of the wrong kind or out of range.
    """
    given: dict[str, Any] = dict(options)
    unknown = sorted(set(given) - set(Options.__annotations__))
    if unknown:
        raise TypeError(f"unknown option {unknown[0]!r}; there are {', '.join(sorted(Options.__annotations__))}")
    device = given.get("device", "auto")
    if not isinstance(device, str) or not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise ConfigError(f"device {device!r}: give auto, cpu, cuda or cuda:N")
    for name, choices in (
        ("blend", get_args(Blend)),
        ("provider", get_args(Provider)),
        ("precision", get_args(PrecisionChoice)),
    ):
        if given.get(name) is not None and given[name] not in choices:
            raise ConfigError(f"{name} {given[name]!r}: give {', '.join(choices[:-1])} or {choices[-1]}")
    for name in ("patch_size", "patch_stride"):
        sizes = given.get(name)
        if sizes is not None and (len(sizes) != 3 or not all(isinstance(n, int) and n >= 1 for n in sizes)):
            raise ConfigError(f"{name} {sizes}: give three whole numbers of at least 1, along Z, Y and X")
    for name in ("window_level", "window_width"):
        number = given.get(name)
        if number is not None and (isinstance(number, bool) or not isinstance(number, int | float)):
            raise ConfigError(f"{name} {number!r}: give a number")
    if not isinstance(given.get("batch_cache", True), bool | str | Path):
        raise ConfigError(f"batch_cache {given['batch_cache']!r}: give True, False or a folder")


class Running(TypedDict):
    """Options of every backend."""

    device: str
    provider: Provider
    precision: PrecisionChoice
    threads: int | None
    max_vram: int | None


def running_options(options: Options) -> Running:
    """What a backend needs, with defaults filled in."""
    return {
        "device": options.get("device", "auto"),
        "provider": options.get("provider", "auto"),
        "precision": options.get("precision", "auto"),
        "threads": options.get("threads"),
        "max_vram": options.get("max_vram"),
    }


class ResultOptions(TypedDict):
    """Options of the predictor itself."""

    batch: BatchChoice | None
    batch_cache: bool | Path
    orientation: str
    threads: int | None
    tta: bool
    skip_empty: bool | float
    crop_foreground: float | None
    max_ram: int | None
    max_vram: int | None


def result_options(options: Options) -> ResultOptions:
    """What the predictor itself needs, with defaults filled in."""
    cache = options.get("batch_cache", True)
    return {
        "batch": options.get("batch"),
        "batch_cache": Path(cache) if isinstance(cache, str) else cache,
        "orientation": options.get("orientation", "LPI"),
        "threads": options.get("threads"),
        "tta": options.get("tta", False),
        "skip_empty": options.get("skip_empty", False),
        "crop_foreground": options.get("crop_foreground"),
        "max_ram": options.get("max_ram"),
        "max_vram": options.get("max_vram"),
    }


def sources_of(options: Options) -> SpecSources:
    """What the options say about the model."""
    spec = options.get("spec")
    overrides = Overrides(
        options.get("window_level"),
        options.get("window_width"),
        options.get("patch_size"),
        options.get("patch_stride"),
        options.get("blend"),
    )
    return SpecSources(Path(spec) if spec else None, overrides)
