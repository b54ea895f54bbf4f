"""A torch network to an ONNX file: by the exporter of torch.export, or by the older one that traces."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from itk_infer.errors import ModelError
from itk_infer.model.runtimes.torch import first_line
from itk_infer.spec.model_spec import Triplet

if TYPE_CHECKING:
    from torch import nn

INPUT, OUTPUT = "image", "logits"


def export_torch(
    network: nn.Module, path: Path, channels: int, size: Triplet, *, flat: bool, free: bool
) -> list[str]:
    """Write a network to an ONNX file, with its weights beside it where they are large.

    Args:
        network: (N, C, Z, Y, X) to logits of the same form; without Z where it is flat.
        path: The file.
        channels: Of its input.
        size: Z, Y, X of the example.
        flat: Whether it takes single planes.
        free: Whether sizes stay free; the number of windows always does.

    Returns:
        Which exporter wrote it, and why not the first.

    Raises:
        ModelError: neither can.
    """
    import torch

    axes = size[1:] if flat else size
    example = torch.zeros((2, channels, *axes))  # of one window, an exporter would fix the number
    dynamic = range(2, 2 + len(axes)) if free else ()
    try:
        with quiet(), torch.no_grad():
            torch.onnx.export(
                network,
                (example,),
                path,
                dynamo=True,
                dynamic_shapes=(dict.fromkeys((0, *dynamic), torch.export.Dim.DYNAMIC),),
                input_names=[INPUT],
                output_names=[OUTPUT],
                verbose=False,
            )
        return ["torch.export"]
    except Exception as error:  # exporters raise errors of any kind
        newer = _cause(error)
    names = {0: "windows", **{axis: f"size_{axis}" for axis in dynamic}}
    try:
        with quiet(), torch.no_grad():
            torch.onnx.export(
                network,
                (example,),
                path,
                dynamo=False,
                dynamic_axes={INPUT: names, OUTPUT: names},
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=17,
                verbose=False,
            )
        return ["tracing", f"torch.export cannot export this network ({newer})"]
    except Exception as error:
        raise ModelError(
            f"the network cannot be exported: by torch.export: {newer}; by tracing: {_cause(error)}"
        ) from error


def _cause(error: BaseException) -> str:
    """The first line of what the exporter stumbled over."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what the exporters print about themselves."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
