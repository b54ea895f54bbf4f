"""The files of an ONNX model: its own, and those with external weights."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from itk_infer.errors import ModelError
from itk_infer.model.kinds.onnx_graph import ExternalData


def weight_files(model: Path, external: Sequence[ExternalData]) -> list[Path]:
    """Return the files beside `model` with its external weights, in the order of their names.

    Raises:
        ModelError: a file is missing, too short, or outside of the model's folder.
    """
    files = {item.location: model.parent / item.location for item in external}
    for location, file in files.items():
        if not _inside(file, model):
            raise ModelError(
                f"{model}: takes weights from {location}, which lies outside the model's folder; save the model "
                "with its weights beside it"
            )
        if not file.is_file():
            raise ModelError(
                f"{model}: takes weights from {location}, and there is no such file; copy {file} from where the "
                "model was made, with the same name"
            )
        needed = max(item.end for item in external if item.location == location)
        if (size := file.stat().st_size) < needed:
            raise ModelError(
                f"{model}: takes weights from {location}, which holds {size:,} bytes where {needed:,} are needed; "
                f"copy or download {file} again"
            )
    return [files[location] for location in sorted(files)]


def _inside(file: Path, model: Path) -> bool:
    """Whether a file is in the folder of the model, or of the model's target if that is a link."""
    real = Path(os.path.realpath(file))
    folders = (os.path.realpath(model.parent), Path(os.path.realpath(model)).parent)
    return any(real.is_relative_to(folder) for folder in folders)


def model_digest(model: Path, others: Sequence[Path]) -> str:
    """SHA-256 of a model's file and of the files with its external weights."""
    with model.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    for file in others:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
