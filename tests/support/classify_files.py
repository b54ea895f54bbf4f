"""Small networks that classify, and pictures with known answers, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from support import dicom_files, onnx_files

GAIN, MIDDLE = 10.0, 0.5
CLASSIFY: dict[str, Any] = {
    "spec": 1,
    "task": "classify",
    "name": "brightness",
    "input": {"channels": ["grey"], "size": [8, 8]},
    "output": {"activation": "sigmoid", "labels": [{"name": "bright", "channel": 0}]},
}


def brightness_network(
    path: Path,
    spec: dict[str, Any] | None = None,
    *,
    shift: float = 0.0,
    end: str = "",
    shape: Any = ("n", 1, 8, 8),
) -> Path:
    """Output c: 10 (mean of channel c - 0.5) + shift. The spec lies beside it."""
    channels = shape[1]
    weights = {
        "w": (np.eye(channels) * GAIN).astype(np.float32),
        "b": np.full(channels, shift - GAIN * MIDDLE, np.float32),
    }
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["z" if end else "y"]),
        *([helper.make_node(end, ["z"], ["y"])] if end else []),
    ]
    onnx_files.save(
        path,
        nodes,
        {"image": (TensorProto.FLOAT, shape)},
        {"y": (TensorProto.FLOAT, (shape[0], channels))},
        None,
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    if spec is not None:
        path.with_suffix(".classify.json").write_text(json.dumps(spec), "utf-8")
    return path


def answer(mean: float, shift: float = 0.0) -> float:
    """What the network answers to a picture of this mean."""
    return float(1 / (1 + np.exp(-(GAIN * (mean - MIDDLE) + shift))))


def grey_dicom(
    path: Path, share: float, number: int = 0, *, study: str = "study", series: str = "series", **attributes: Any
) -> Path:
    """A picture of 8 x 8 pixels that a window of 0 to 1,000 shows at this share of white."""
    pixels = np.full((8, 8), round(share * 1000), np.uint16)
    window = {"WindowCenter": "500.5", "WindowWidth": "1001"}
    ds = dicom_files.slice_of(number, pixels, study=study, series=series, **window, **attributes)
    return dicom_files.save(ds, path)
