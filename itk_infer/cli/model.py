"""From model options to a loaded `Predictor`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from itk_infer.executors.loader import ModelRequest
    from itk_infer.model.batch_size.search import BatchChoice
    from itk_infer.predictor import Predictor


def model_request(*, orientation: str = "LPI", **options: Any) -> ModelRequest:
    """The model that the options of `model_options` name, not loaded yet.

    Raises:
        click.UsageError: the options do not name one model.
    """
    backend = _backend(options)
    if options["fp16"] and options["precision"] not in ("auto", "fp16"):
        raise click.UsageError(f"--fp16 and --precision {options['precision']} contradict each other")
    if options["no_batch_cache"] and options["batch_cache"] is not None:
        raise click.UsageError("--no-batch-cache and --batch-cache contradict each other")
    from itk_infer.executors.loader import ModelRequest

    return ModelRequest(
        onnx=options["onnx"] if backend == "onnx" else None,
        config=options["cfg_path"],
        checkpoint=options["ckpt_path"],
        device=options["device"],
        provider=options["provider"],
        precision="half" if options["fp16"] and options["precision"] == "auto" else options["precision"],
        orientation=orientation,
        spec=options["spec"],
        window_level=options["wl"],
        window_width=options["ww"],
        patch_size=options["patch_size"],
        patch_stride=options["patch_stride"],
        blend=options["blend"],
        batch=_batch(options["batch"]),
        batch_cache=options["batch_cache"] or not options["no_batch_cache"],
        tta=options["tta"],
        skip_empty=_empty(options["skip_empty"]),
        crop_foreground=options["crop_foreground"],
        max_ram=_bytes("--max-ram", options["max_ram"]),
        max_vram=_bytes("--max-vram", options["max_vram"]),
    )


def load_predictor(*, orientation: str = "LPI", **options: Any) -> Predictor:
    """Load the model that the options of `model_options` name, into this process.

    Raises:
        click.UsageError: the options do not name one model.
        ItkInferError: it cannot be loaded, or the options do not fit it.
    """
    return model_request(orientation=orientation, **options).load()


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


def _bytes(option: str, size: str | None) -> int | None:
    if size is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", size.strip(), re.IGNORECASE)
    if match is None:
        raise click.UsageError(f"{option} {size}: give a size such as 12G or 800M")
    return int(float(match[1]) * 1024 ** "_KMGT".index(match[2].upper() or "_"))


def _batch(word: str | None) -> BatchChoice | None:
    if word is None or word == "auto":
        return word  # type: ignore[return-value]
    if not word.isdecimal() or int(word) < 1:
        raise click.UsageError(f"--batch {word}: give a whole number of at least 1, or auto")
    return int(word)


def _empty(word: str | None) -> bool | float:
    if word is None or word == "constant":
        return word is not None
    try:
        return float(word)
    except ValueError:
        raise click.UsageError(f"--skip-empty {word}: give a number, or nothing") from None
