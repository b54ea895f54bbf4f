"""A folder with an MMEngine model: one config and one checkpoint, which are found without running anything."""

from __future__ import annotations

import json
import re
from pathlib import Path

from itk_infer.errors import ModelError

CONFIGS = (".py", ".json", ".yaml", ".yml")
CHECKPOINTS = (".pth", ".pt", ".safetensors")
# Top-level keys of a config in JSON, and in Python and YAML; or the base configs of a lazy config.
KEYS = ("model", "_base_")
_KEY_LINE = re.compile(rb"^(model|_base_)\s*[=:]|^with\s+read_base\(", re.MULTILINE)
_MAX_CONFIG_BYTES = 2**20


def is_mmengine(path: Path) -> bool:
    """Whether a folder holds at least one MMEngine config and at least one checkpoint."""
    return path.is_dir() and all(_contents(path))


def model_files(folder: Path) -> tuple[Path, Path]:
    """Find the config and the checkpoint in a folder.

    Raises:
        ModelError: there is not exactly one of each.
    """
    if not folder.is_dir():
        raise ModelError(
            f"{folder}: no such folder; give a config and a checkpoint, or the folder that holds both"
        )
    configs, checkpoints = _contents(folder)
    for what, files in (("MMEngine config", configs), ("checkpoint", checkpoints)):
        if len(files) != 1:
            names = f" ({', '.join(path.name for path in files)})" if files else ""
            raise ModelError(
                f"{folder}: one {what} is needed, and there are {len(files)}{names}; give the config and the "
                "checkpoint by their names"
            )
    return configs[0], checkpoints[0]


def _contents(folder: Path) -> tuple[list[Path], list[Path]]:
    """Configs and checkpoints of a folder, sorted; empty lists if the folder cannot be read."""
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file())
        configs = [path for path in files if path.suffix in CONFIGS and _is_config(path)]
    except OSError:
        return [], []
    return configs, [path for path in files if path.suffix in CHECKPOINTS]


def _is_config(path: Path) -> bool:
    if path.name.endswith(".spec.json"):
        return False
    with path.open("rb") as file:
        content = file.read(_MAX_CONFIG_BYTES)
    if path.suffix != ".json":
        return _KEY_LINE.search(content) is not None
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and any(key in document for key in KEYS)
