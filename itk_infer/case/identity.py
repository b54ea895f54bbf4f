"""Everything that determines the outputs of a case, and the words for each part of it in messages."""

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
ALONE = {name: about.outputs for name, about in declared().items() if about.outputs}
BEFORE = {**Options().identity(), "postprocessing": []}  # holds for results that are older than an option


def difference(recorded: Mapping[str, Any], identity: Mapping[str, Any], output: str) -> str:
    """In which part of its identity an output that is there differs, in words; empty: in none.

    Args:
        recorded: Its identity in the ledger.
        identity: What it would be now.
        output: Its name in the table of outputs.
    """
    for part, words in PARTS.items():
        if output in ALONE.get(part, (output,)) and recorded.get(part, BEFORE.get(part)) != identity.get(part):
            return words
    return ""


def model_identity(
    digest: str, spec: ModelSpec, window: ModelWindow, options: Options, precision: Precision
) -> dict[str, Any]:
    """Model, spec, window and options that change the result; JSON-ready.

    A result is reused only where all of it is the same.

    Args:
        digest: Of the model's files.
        spec: Complete.
        window: What patch and stride came to be.
        options: How the model is run, with what was chosen where they leave it to the model.
        precision: What the choice of the options came to be.
    """
    document = spec.to_dict()
    # What patch, stride and mirroring came to be is recorded below; whether they were asked for does not matter.
    for key in ("patch_size", "patch_stride", "step", "mirror"):
        document["window"].pop(key, None)
    for label in document["output"].get("labels", ()):
        label.pop("tolerance_mm", None)  # of evaluations
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
    """SHA-256 of what decides the labels."""
    general = {part: value for part, value in identity.items() if part not in ALONE}
    return hashlib.sha256(json.dumps(general, sort_keys=True).encode()).hexdigest()


def output_identity(identity: dict[str, Any], inputs: Sequence[InputFile]) -> dict[str, Any]:
    """Everything that determines the content of an output: `model_identity`, and the image."""
    return {**identity, "inputs": [item.sha256 for item in inputs]}
