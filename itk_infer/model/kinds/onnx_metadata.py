"""Read the model spec from the metadata of an ONNX file: a spec, and older keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from itk_infer.errors import SpecError
from itk_infer.model.spec_sources import Document, older_window

INFERENCE_KEYS = ("patch_size", "patch_stride", "forward_batch_windows")


def embedded_documents(found: Mapping[str, str], source: str) -> tuple[list[Document], list[str], int | None]:
    """Read documents from an ONNX file's metadata, lowest precedence first; notes; windows per call.

    Raises:
        SpecError: an entry is invalid; messages name `source`.
    """
    documents: list[Document] = []
    notes: list[str] = []
    window = older_window(found.get("window_level"), found.get("window_width"), source)
    if window:
        documents.append(window)
    older = _json(found.get("inference_config", "{}"), f"{source}, inference_config")
    block = {key: _whole(older[key]) for key in ("patch_size", "patch_stride") if older.get(key) is not None}
    if block:
        documents.append(Document(f"{source}, inference_config", {"window": block}, older=True))
    ignored = sorted(set(older) - set(INFERENCE_KEYS))
    if ignored:
        notes.append(f"{source}, inference_config: ignored {', '.join(ignored)}")
    hint = older.get("forward_batch_windows")
    if hint is not None and (isinstance(hint, bool) or not isinstance(hint, int) or hint < 1):
        raise SpecError(f"{source}, inference_config: forward_batch_windows must be 1 or more, not {hint!r}")
    if "itk_infer" in found:
        name = f"{source}, itk_infer"
        documents.append(Document(name, _json(found["itk_infer"], name)))
    return documents, notes, hint


def _whole(values: Any) -> Any:
    """Convert sizes that were stored as floats to whole numbers."""
    if not isinstance(values, list):
        return values
    return [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]


def _json(text: str, source: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{source}: is not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise SpecError(f"{source}: must be a JSON object")
    return value
