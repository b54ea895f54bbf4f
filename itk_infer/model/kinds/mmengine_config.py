"""Read the model spec from an MMEngine config: from its ``itk_infer`` dict, and from older keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from itk_infer.errors import SpecError
from itk_infer.model.spec_sources import Document, older_window

WINDOW_KEYS = ("patch_size", "patch_stride")
# Keys of a data preprocessor that are used, or have no effect at inference.
PREPROCESSOR_KEYS = ("type", "mean", "std", "size", "seg_pad_val", "batch_augments", "non_blocking")


def spec_documents(config: Mapping[str, Any], name: str) -> tuple[list[Document], list[str], int | None]:
    """The documents in a config, lowest precedence first.

    Args:
        config: The whole config as plain mappings and lists (``Config.to_dict()``).
        name: Name of the config in messages.

    Returns:
        The documents (with ``input.intensity`` only if the config has intensity settings), notes on older keys
        that are ignored, and the number of windows per call in the config.

    Raises:
        SpecError: a key is invalid, such as ``wl`` without ``ww``.
    """
    model = _mapping(config.get("model"))
    preprocessor = _mapping(model.get("data_preprocessor")) or _mapping(config.get("data_preprocessor"))
    inference = _mapping(model.get("inference_config"))

    documents = []
    content = {
        "input": _input(older_window(config.get("wl"), config.get("ww"), f"{name}, wl and ww"), preprocessor),
        "window": _window(_mapping(model.get("test_cfg")), inference),
    }
    content = {block: values for block, values in content.items() if values}
    if content:
        documents.append(Document(f"{name}, older keys", content, older=True))
    if "itk_infer" in config:
        documents.append(Document(f"{name}, itk_infer", config["itk_infer"]))

    ignored = [
        f"data_preprocessor.{key}"
        for key, value in preprocessor.items()
        if key not in PREPROCESSOR_KEYS and value not in (None, False)
    ]
    ignored += [
        f"inference_config.{key}" for key in inference if key not in (*WINDOW_KEYS, "forward_batch_windows")
    ]
    notes = [f"{name}: ignored {', '.join(ignored)}"] if ignored else []
    return documents, notes, _batch(inference.get("forward_batch_windows"), name)


def _input(window: Document | None, preprocessor: Mapping[str, Any]) -> dict[str, Any]:
    """Intensity window first, then mean and standard deviation, as in training pipelines with these keys."""
    steps = list(window.content["input"]["intensity"]) if window else []
    mean, std = (_list(preprocessor.get(key)) for key in ("mean", "std"))
    if mean and std:
        steps.append({"op": "standardize", "mean": mean, "std": std})
    block: dict[str, Any] = {"intensity": steps} if steps else {}
    if len(mean) > 1:
        block["channels"] = [f"channel {index}" for index in range(len(mean))]
    return block


def _window(test: Mapping[str, Any], inference: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        "patch_size": test.get("crop_size"),
        "patch_stride": test.get("stride"),
        **{key: inference[key] for key in WINDOW_KEYS if inference.get(key) is not None},
    }
    return {key: _triplet(value) for key, value in found.items() if value is not None}


def _triplet(value: Any) -> Any:
    """Z, Y, X: a 2D network's pair becomes one plane. The spec's parser reports anything else."""
    pair = isinstance(value, Sequence) and len(value) == 2
    return [1, *value] if pair else value


def _batch(value: Any, name: str) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise SpecError(f"{name}, inference_config.forward_batch_windows must be 1 or more, not {value!r}")
    return value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, Sequence) else [value]
