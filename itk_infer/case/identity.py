"""Everything that determines the outputs of a case, and how messages name each part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from itk_infer.options import Options, declared, result_words

if TYPE_CHECKING:
    from itk_infer.files.records import InputFile
    from itk_infer.model.runtimes.precision import Precision
    from itk_infer.model.window import ModelWindow
    from itk_infer.spec import ModelSpec

ENGINE_VERSION = 1  # raised whenever the same image and model would give other labels
# What changed, in words, for each part of `output_identity`.
PARTS = {
    "inputs": "another input",
    "engine": "another version of the engine",
    "model": "another model",
    "spec": "other model settings",
    "postprocessing": "other post-processing rules",
    "members": "other settings of a member of the ensemble",
    "patch": "another patch size",
    "stride": "another patch stride",
    **dict(result_words()),
}
ALONE = {name: about.outputs for name, about in declared().items() if about.outputs}  # concern some outputs only
BEFORE = {**Options().identity(), "postprocessing": []}  # assumed for results that are older than an option


def difference(recorded: Mapping[str, Any], identity: Mapping[str, Any], output: str) -> str:
    """Return the first part in which an existing output's identity differs, as a phrase; empty if none does.

    Args:
        recorded: The output's identity in the ledger.
        identity: The identity that it would have now.
        output: The output's name in `OUTPUTS`.
    """
    for part, words in PARTS.items():
        if output in ALONE.get(part, (output,)) and recorded.get(part, BEFORE.get(part)) != identity.get(part):
            return words
    return ""


def model_identity(
    digest: str, spec: ModelSpec, window: ModelWindow, options: Options, precision: Precision
) -> dict[str, Any]:
    """Return model, spec, window and options, as far as they change the result; JSON-ready.

    A result is reused only if all of this is the same.

    Args:
        digest: SHA-256 of the model's files.
        spec: The complete spec.
        window: Patch and stride that are used.
        options: How the model is run; choices that they leave to the model are filled in.
        precision: The precision that is used.
    """
    document = spec.to_dict()
    # Patch, stride and mirroring in use are recorded below; whether they were asked for does not matter.
    for key in ("patch_size", "patch_stride", "step", "mirror"):
        document["window"].pop(key, None)
    for label in document["output"].get("labels", ()):
        label.pop("tolerance_mm", None)  # used in evaluations only
    rules = document["output"].pop("postprocessing", [])
    return {
        "engine": ENGINE_VERSION,
        "model": digest,
        "spec": {block: document[block] for block in ("input", "window", "output")},
        "patch": list(window.patch),
        "stride": list(window.stride),
        "postprocessing": rules,
        **options.identity(),
        "precision": precision,
    }


def digest_of(identity: Mapping[str, Any]) -> str:
    """SHA-256 of the parts that determine the labels."""
    general = {part: value for part, value in identity.items() if part not in ALONE}
    return hashlib.sha256(json.dumps(general, sort_keys=True).encode()).hexdigest()


def output_identity(identity: dict[str, Any], inputs: Sequence[InputFile]) -> dict[str, Any]:
    """Everything that determines the content of an output: `model_identity`, and the image."""
    return {**identity, "inputs": [item.sha256 for item in inputs]}
