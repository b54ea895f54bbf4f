"""The spec of a classifying model, merged from its sources: its own file, files beside it, the user's file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from itk_infer.errors import SpecError
from itk_infer.model.spec_json import read_json
from itk_infer.model.spec_sources import Document, SpecSources
from itk_infer.spec import merge
from itk_infer.spec.classify_parse import is_classification, parse_classify_spec
from itk_infer.spec.classify_spec import ClassifySpec

SIDECARS = (".classify.json", ".spec.json")


def resolve_classify(path: Path, own: Sequence[Document], sources: SpecSources) -> ClassifySpec:
    """Merge all sources; later ones take precedence.

    Args:
        path: The model's file; ``<stem>.classify.json`` and ``<stem>.spec.json`` beside it are read.
        own: Documents in the file itself, lowest precedence first.
        sources: Further sources of the spec.

    Raises:
        SpecError: a source is invalid, or no source has the task ``classify``.
    """
    beside = [path.with_name(f"{path.stem}{ending}") for ending in SIDECARS]
    users = [sources.overrides.spec] if sources.overrides.spec is not None else []
    documents = [
        *(document for document in own if not document.older),
        *(Document(str(file), read_json(file)) for file in beside if file.is_file()),
        *sources.above,
        *(Document(str(file), read_json(file)) for file in users),
    ]
    merged = merge(*(document.content for document in documents))
    if not is_classification(merged):
        raise SpecError(
            f"{path}: no spec says that it classifies pictures; describe it in {path.stem}.spec.json beside it, "
            'or with `spec`: {"spec": 1, "task": "classify", "input": ..., "output": ...}'
        )
    return parse_classify_spec(
        merged, documents[0].name if len(documents) == 1 else f"the model spec of {path.name}"
    )
