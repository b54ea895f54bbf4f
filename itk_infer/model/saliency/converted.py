"""Convert ONNX networks to torch by onnx2torch, for gradients without a closed form."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from itk_infer.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

OPSET: Final = 17  # onnx2torch does not support operations of newer ones
MAX_RELATIVE_ERROR: Final = 1e-3
HOW: Final = "autograd of its conversion by onnx2torch"


def converted(
    path: Path, forward: Callable[[NDArray[np.float32]], NDArray[np.floating]], size: tuple[int, int, int]
) -> nn.Module:
    """Convert an ONNX network to torch, and check that its outputs are the same.

    Args:
        path: The file.
        forward: Runs the file: (N, C, H, W) to at least N rows of K values, of which the first N are used.
        size: Size C, H, W of its input.

    Raises:
        ModelError: onnx2torch is missing, cannot convert the file, or the outputs differ.
    """
    try:
        import onnx
        import torch

        onnx2torch = import_onnx2torch()
    except ImportError as error:
        raise ModelError(
            f"{path}: gradients of an ONNX network need onnx2torch, which cannot be imported ({error}): "
            "pip install 'itk_infer[saliency]'"
        ) from error
    try:
        network: Any = onnx2torch.convert(_older(onnx, onnx.load(path))).eval()
        picture = np.random.default_rng(0).normal(size=(1, *size)).astype(np.float32)
        with torch.no_grad():
            answer = network(torch.from_numpy(picture)).flatten(1).double().numpy()
    except Exception as error:  # converters of single operations raise many classes
        reason = f"{type(error).__name__}: {error}".split("\n")[0]
        raise ModelError(f"{path}: onnx2torch cannot convert it ({reason})") from error
    exact = np.asarray(forward(picture), np.float64)[:1].reshape(answer.shape)
    if np.abs(answer - exact).max() > MAX_RELATIVE_ERROR * max(1.0, float(np.abs(exact).max())):
        raise ModelError(f"{path}: the outputs of its conversion by onnx2torch differ, so it is not used")
    module: nn.Module = network
    return module


def import_onnx2torch() -> Any:
    """Import onnx2torch, with a stub for torchvision meanwhile.

    onnx2torch needs torchvision only for box operations of detectors, which classifying networks do not have; and
    torchvision can be imported only beside the torch version that it was built for.
    """
    if sys.modules.get("onnx2torch") is None:
        ops = ModuleType("torchvision.ops")
        ops.roi_align = _no_boxes  # type: ignore[attr-defined]
        stand_ins = {"torchvision": ModuleType("torchvision"), "torchvision.ops": ops}
        there = {name: sys.modules[name] for name in stand_ins if name in sys.modules}
        sys.modules.update(stand_ins)
        try:
            importlib.import_module("onnx2torch")
        finally:
            for name in stand_ins:
                del sys.modules[name]
            sys.modules.update(there)
    return sys.modules["onnx2torch"]


def _no_boxes(*_: Any, **__: Any) -> Any:
    raise RuntimeError("boxes of detectors are not converted")


def _older(onnx: Any, model: Any) -> Any:
    from onnx import version_converter

    if all(entry.version <= OPSET for entry in model.opset_import if entry.domain in ("", "ai.onnx")):
        return model
    return version_converter.convert_version(model, OPSET)
