"""Everything besides the image that decides what the labels of a case are."""

from __future__ import annotations

from typing import Any

from itk_infer.model.runtimes.precision import Precision
from itk_infer.model.window import ModelWindow
from itk_infer.spec import ModelSpec

ENGINE_VERSION = 1  # raised whenever the same image and model would give other labels


def model_identity(
    digest: str,
    spec: ModelSpec,
    window: ModelWindow,
    *,
    orientation: str,
    precision: Precision,
    tta: bool,
    crop_foreground: float | None,
    skip_empty: bool | float,
) -> dict[str, Any]:
    """Model, spec, window and options that change the result; JSON-ready.

    A result is reused only where all of it is the same.
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
        "orientation": orientation,
        "precision": precision,
        "tta": tta,
        "crop_foreground": crop_foreground,
        "skip_empty": None if isinstance(skip_empty, bool) else skip_empty,
    }
