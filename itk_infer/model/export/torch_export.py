"""Export a torch network to an ONNX file: by torch.export, or by the older exporter, which traces."""

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
    """Write a network to an ONNX file, with its weights in a file beside it if they are large.

    Args:
        network: Takes (N, C, Z, Y, X), returns logits of the same axes; without Z if `flat`.
        path: The file to write.
        channels: Input channels.
        size: Size of the example, Z Y X.
        flat: Whether the network takes single planes.
        free: Whether window sizes stay free; the number of windows always does.

    Returns:
        The exporter that wrote it; then, if it is not the first one, why that failed.

    Raises:
        ModelError: neither exporter can export the network.
    """
    import torch

    axes = size[1:] if flat else size
    example = torch.zeros((2, channels, *axes))  # with one window, exporters would fix their number to 1
    dynamic = range(2, 2 + len(axes)) if free else ()
    scripted = any(isinstance(part, torch.jit.ScriptModule) for part in network.modules())
    try:
        if scripted:
            raise TypeError("it takes no TorchScript")
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
                # It takes TorchScript, but none within a module, as it is here.
                torch.jit.trace(network, example) if scripted else network,  # type: ignore[no-untyped-call]
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
    """The first line of the error that caused the exporter's."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress what the exporters print and log."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
