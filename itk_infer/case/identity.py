"""Everything besides the image that decides what the labels of a case are."""

from __future__ import annotations

from typing import Any

from itk_infer.model.runtimes.precision import Precision
from itk_infer.model.window import ModelWindow
from itk_infer.options import Options
from itk_infer.spec import ModelSpec

ENGINE_VERSION = 1  # raised whenever the same image and model would give other labels


def model_identity(
    digest: str, spec: ModelSpec, window: ModelWindow, options: Options, precision: Precision
) -> dict[str, Any]:
    """Model, spec, window and options that change the result; JSON-ready.

    A result is reused only where all of it is the same.

    Args:
        digest: Of the model's files.
        spec: Complete.
        window: What patch and stride came to be.
        options: How the model is run.
        precision: What the choice of the options came to be.
    """
    document = spec.to_dict()
    # What patch and stride came to be is recorded below; whether they were asked for does not matter.
    del document["window"]["patch_size"], document["window"]["patch_stride"]
    return {
        "engine": ENGINE_VERSION,
        "model": digest,
        "spec": {block: document[block] for block in ("input", "window", "output")},
        "patch": list(window.patch),
        "stride": list(window.stride),
        **options.identity(),
        "precision": precision,
    }
