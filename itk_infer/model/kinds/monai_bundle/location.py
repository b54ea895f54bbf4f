"""Find a bundle from the path that a user gave. Runs nothing, imports nothing heavy."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from itk_infer.errors import ModelError
from itk_infer.model.kinds.nnunet.archive import has_entry, unpacked

METADATA = "metadata.json"
ENDINGS = (".json", ".yaml", ".yml")
_IN_ZIP = re.compile(r"(^|/)configs/metadata\.json$")
_KEPT = re.compile(r"(^|/)(configs/[\w.-]+\.(json|ya?ml)|models/[\w.-]+|large_files\.ya?ml)$")


@dataclass(frozen=True, slots=True)
class BundleLocation:
    """A bundle.

    Attributes:
        root: Its folder.
        config: The config for inference.
        notes: Sentences for the user on how it was found.
    """

    root: Path
    config: Path
    notes: tuple[str, ...] = ()


def is_bundle(path: Path) -> bool:
    """Whether a path is a bundle's folder, its zip, or a config in one. Runs nothing, and raises nothing."""
    try:
        if path.is_dir():
            return (path / "configs" / METADATA).is_file() or _in(path) is not None
        return _is_config(path) or has_entry(path, _IN_ZIP)
    except (OSError, ValueError):
        return False


def locate_bundle(path: Path) -> BundleLocation:
    """Find the bundle that a path names.

    Args:
        path: A folder or a zip with ``configs/metadata.json``, directly or in the only folder in it; or one of the
            configs, for a bundle that has several.

    Raises:
        ModelError: there is none, or it has several configs for inference.
    """
    if path.is_file() and not _is_config(path):
        folder = unpacked(path, "bundles", _KEPT)
        found = locate_bundle(folder)
        return BundleLocation(found.root, found.config, (f"{path.name} was unpacked into {folder}", *found.notes))
    path = Path(os.path.abspath(path))  # noqa: PTH100 - links stay: what they lead to can have another name
    if path.is_file():
        return BundleLocation(path.parent.parent, path)
    root = path if (path / "configs" / METADATA).is_file() else _in(path)
    if root is None:
        raise ModelError(f"{path}: holds no configs/{METADATA}, as a bundle of MONAI does")
    return BundleLocation(root, _config(root))


def inside(root: Path, name: str, what: str) -> Path:
    """The path of a file of a bundle.

    Raises:
        ModelError: the file is outside of the bundle, also through a link.
    """
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()):
        raise ModelError(f"{root}: {what} is {name!r:.80}, which is outside the bundle; it is not read")
    return path


def _in(folder: Path) -> Path | None:
    """The only sub-folder that is a bundle; None if there is not exactly one."""
    below = [entry for entry in folder.iterdir() if (entry / "configs" / METADATA).is_file()]
    return below[0] if len(below) == 1 else None


def _is_config(path: Path) -> bool:
    named = path.suffix in ENDINGS and path.name != METADATA and path.parent.name == "configs"
    return named and path.is_file() and (path.parent / METADATA).is_file()


def _config(root: Path) -> Path:
    folder = root / "configs"
    for ending in ENDINGS:
        if (folder / f"inference{ending}").is_file():
            return folder / f"inference{ending}"
    others = sorted(file for file in folder.glob("inference*") if file.suffix in ENDINGS)
    if len(others) == 1:
        return others[0]
    if not others:
        raise ModelError(f"{folder}: has no inference.json or inference.yaml")
    raise ModelError(
        f"{folder}: has several configs of inference; give one of them as the model: "
        f"{', '.join(str(file) for file in others)}"
    )
