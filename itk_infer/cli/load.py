"""From model options to a loaded `Predictor`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from itk_infer.predictor import Predictor


def load_predictor(*, orientation: str = "LPI", **options: Any) -> Predictor:
    """Load the model that the options of `model_options` name.

    Raises:
        click.UsageError: the options do not name one model.
        ItkInferError: it cannot be loaded, or the options do not fit it.
    """
    backend = _backend(options)
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", options["device"]):
        raise click.UsageError(f"--device {options['device']}: give auto, cpu, cuda or cuda:N")
    _check_triplets(options["patch_size"], options["patch_stride"])
    if options["fp16"] and options["precision"] not in ("auto", "fp16"):
        raise click.UsageError(f"--fp16 and --precision {options['precision']} contradict each other")
    if options["fp16"] and options["precision"] == "auto":
        options["precision"] = "half"
    from itk_infer.options import Options
    from itk_infer.predictor import Predictor

    given: Options = {"device": options["device"], "orientation": orientation}
    for ours, theirs in (
        ("spec", "spec"),
        ("window_level", "wl"),
        ("window_width", "ww"),
        ("patch_size", "patch_size"),
        ("patch_stride", "patch_stride"),
        ("blend", "blend"),
        ("batch", "batch"),
        ("provider", "provider"),
        ("precision", "precision"),
    ):
        if options[theirs] is not None:
            given[ours] = options[theirs]  # type: ignore[literal-required]
    if options["skip_empty"] is not None:
        given["skip_empty"] = _empty(options["skip_empty"])
    given["tta"] = options["tta"]
    if backend == "onnx":
        predictor = Predictor.from_onnx(options["onnx"], **given)
    else:
        predictor = Predictor.from_mmengine(options["cfg_path"], options["ckpt_path"], **given)
    return predictor


def _backend(options: dict[str, Any]) -> str:
    onnx, cfg, ckpt = options["onnx"], options["cfg_path"], options["ckpt_path"]
    backend: str | None = options["backend"]
    if backend is None and onnx is None and cfg is None and ckpt is None:
        raise click.UsageError("no model: give --onnx MODEL.onnx, or -cfg CONFIG and -ckpt CHECKPOINT")
    if onnx is not None and (cfg is not None or ckpt is not None):
        raise click.UsageError("--onnx and -cfg/-ckpt name two models; give one of them")
    backend = backend or ("onnx" if onnx is not None else "mmengine")
    if backend == "onnx" and onnx is None:
        raise click.UsageError("--backend onnx needs --onnx MODEL.onnx")
    if backend == "mmengine" and (cfg is None or ckpt is None):
        raise click.UsageError("--backend mmengine needs both -cfg CONFIG and -ckpt CHECKPOINT")
    return backend


def _empty(word: str) -> bool | float:
    if word == "constant":
        return True
    try:
        return float(word)
    except ValueError:
        raise click.UsageError(f"--skip-empty {word}: give a number, or nothing") from None


def _check_triplets(patch: tuple[int, ...] | None, stride: tuple[int, ...] | None) -> None:
    for name, values in (("--patch-size", patch), ("--patch-stride", stride)):
        if values is not None and min(values) < 1:
            raise click.UsageError(f"{name} {' '.join(map(str, values))}: 1 or more along Z, Y and X")
    if patch is not None and stride is not None and any(s > p for s, p in zip(stride, patch, strict=True)):
        raise click.UsageError(
            f"--patch-stride {' '.join(map(str, stride))} is larger than --patch-size "
            f"{' '.join(map(str, patch))}; voxels between the windows would never be seen"
        )
