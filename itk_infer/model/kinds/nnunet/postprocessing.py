"""The post-processing that nnU-Net determined in cross-validation and stored beside a model's folds.

Only postprocessing.json is read; postprocessing.pkl, which nnU-Net reads, could run code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from itk_infer.errors import ModelError
from itk_infer.model.spec_json import read_json

NAME = "postprocessing.json"
KEEP_LARGEST = "remove_all_but_largest_component_from_segmentation"


def find_postprocessing(root: Path, folds: Sequence[str]) -> Path | None:
    """Find the file of a model folder: that of these folds, or else the only one; None if there is none.

    Args:
        root: The model folder.
        folds: Names of the folds that are run.

    Raises:
        ModelError: there are several, none of which is for these folds.
    """
    own = root / f"crossval_results_folds_{'_'.join(folds)}" / NAME
    if own.is_file():
        return own
    found = sorted(path for path in root.glob(f"crossval_results*/{NAME}") if path.is_file())
    if len(found) > 1:
        names = ", ".join(path.parent.name for path in found)
        raise ModelError(
            f"{root}: has several {NAME} ({names}), and none is of the folds {', '.join(folds)} alone; choose the "
            "folds of one of them (`folds`), or write its rules into a file (`postprocess`)"
        )
    return found[0] if found else None


def read_postprocessing(path: Path, values: Sequence[int], *, regions: bool = False) -> list[dict[str, Any]]:
    """Read the rules of the file, in the form of a model spec.

    Args:
        path: The file.
        values: Label values that the model writes; rules for others are left out.
        regions: Whether its labels overlap; nnU-Net's rules are for the label map that is painted of them.

    Raises:
        ModelError: it cannot be read, or holds other functions than nnU-Net's own.
    """
    content = read_json(path)
    if not isinstance(content, Mapping):
        raise ModelError(f"{path}: is not a JSON object; copy or download it again")
    names, keywords = content.get("postprocessing_fns"), content.get("postprocessing_kwargs")
    if not isinstance(names, list) or not isinstance(keywords, list) or len(names) != len(keywords):
        raise ModelError(f"{path}: holds no lists postprocessing_fns and postprocessing_kwargs of one length")
    rules = []
    for name, given in zip(names, keywords, strict=True):
        if name != KEEP_LARGEST or not isinstance(given, Mapping) or given.keys() - {"labels_or_regions"}:
            raise ModelError(
                f"{path}: {name} with {given} is not known here, only {KEEP_LARGEST}; write what it does into a "
                "file of rules (`postprocess`)"
            )
        labels = [value for value in _values(given.get("labels_or_regions"), path) if value in values]
        if labels:
            painted = {"painted": True} if regions else {}
            rules.append({"op": "keep_largest", "labels": labels, "group": True, "connectivity": 26, **painted})
    return rules


def _values(given: Any, path: Path) -> list[int]:
    """Label values of a label, a region, or a list of either, whose union is treated as one."""
    values: list[int] = []
    for item in given if isinstance(given, list) else [given]:
        for value in item if isinstance(item, list) else [item]:
            if isinstance(value, bool) or not isinstance(value, int):
                raise ModelError(f"{path}: labels_or_regions holds {value!r}, which is no label value")
            values.append(value)
    return sorted(set(values))
