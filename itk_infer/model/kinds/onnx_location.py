"""Which files are ONNX models."""

from __future__ import annotations

from pathlib import Path


def is_onnx(path: Path) -> bool:
    """Whether a file is an ONNX model, by its suffix or by its content."""
    if not path.is_file():
        return False
    if path.suffix.lower() == ".onnx":
        return True
    from itk_infer.model.kinds.onnx_graph import read_graph

    try:
        return bool(read_graph(path).nodes)
    except OSError:
        return False
