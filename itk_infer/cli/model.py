"""From model options to a loaded `Predictor`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from itk_infer.cli.options import PATH, decorated, option, options_under, read_options
from itk_infer.options import MODEL, WINDOWS

if TYPE_CHECKING:
    from itk_infer.executors.loader import ModelRequest
    from itk_infer.predictor import Predictor

FILES = (
    option(
        "--backend",
        heading=MODEL,
        type=click.Choice(["onnx", "mmengine"]),
        help="May be left out: --onnx, or --cfg-path and --ckpt-path, tell it.",
    ),
    option("--onnx", heading=MODEL, type=PATH, help="ONNX model file."),
    option("-cfg", "--cfg-path", heading=MODEL, type=PATH, help="MMEngine config. It is code, and it runs."),
    option("-ckpt", "--ckpt-path", heading=MODEL, type=PATH, help="MMEngine checkpoint."),
)


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which model, and how to run it, shared by every command that loads one."""
    return decorated(command, [*FILES, *options_under(MODEL, WINDOWS)])


def model_request(**given: Any) -> ModelRequest:
    """The model that the options of `model_options` name, not loaded yet.

    Args:
        **given: Parameters of the command; those that are not about the model are ignored.

    Raises:
        click.UsageError: the options do not name one model, or contradict each other.
        ConfigError: a value is out of range.
    """
    backend = _backend(given)
    options = read_options(given)
    from itk_infer.executors.loader import ModelRequest

    return ModelRequest(
        given["onnx"] if backend == "onnx" else None, given["cfg_path"], given["ckpt_path"], options
    )


def load_predictor(**given: Any) -> Predictor:
    """Load the model that the options of `model_options` name, into this process.

    Raises:
        click.UsageError: the options do not name one model.
        ItkInferError: it cannot be loaded, or the options do not fit it.
    """
    return model_request(**given).load()


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
