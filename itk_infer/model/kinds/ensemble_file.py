"""Ensemble files: JSON that lists models and how their outputs are averaged.

Reading one loads none of its models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from itk_infer.errors import SpecError
from itk_infer.model.ensemble import Mean
from itk_infer.spec.values import is_number

MAX_BYTES = 2**20
MAX_DEPTH = 8
MAX_MODELS = 256  # in all groups together: ensemble files that name each other could lead to millions
GROUPED = "mean of means of probabilities"
KEYS = ("mean", "members", "name")
MEMBER_KEYS = ("kind", "model", "weight", *KEYS)


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a group.

    Attributes:
        content: The path of a model, or a group.
        weight: Weight, relative to the others of its group.
        kind: A name in `MODEL_KINDS`; None: recognised from the file.
    """

    content: Path | Group
    weight: float = 1.0
    kind: str | None = None

    @property
    def models(self) -> int:
        """Number of models in it."""
        return 1 if isinstance(self.content, Path) else sum(member.models for member in self.content.members)

    @property
    def name(self) -> str:
        """The name in messages."""
        return self.content.name if isinstance(self.content, Path) else self.content.name or "a group"


@dataclass(frozen=True, slots=True)
class Group:
    """Models whose outputs are averaged.

    Attributes:
        members: At least two.
        mean: What is averaged.
        name: Name of the ensemble; may be empty.
    """

    members: tuple[Member, ...]
    mean: Mean = "probabilities"
    name: str = ""

    @property
    def weights(self) -> tuple[float, ...] | None:
        """Weights of the members; None if all are equal."""
        weights = tuple(member.weight for member in self.members)
        return None if len(set(weights)) == 1 else weights


def is_ensemble(path: Path) -> bool:
    """Whether a file is an ensemble file: a JSON object with the key ``ensemble``. Raises nothing."""
    try:
        return "ensemble" in _content(path)
    except (OSError, ValueError, RecursionError):
        return False


def read_ensemble(path: Path) -> Group:
    """Read an ensemble file, and ensemble files among its members.

    Raises:
        SpecError: the file is invalid, a model that it lists is missing, or it contains itself.
    """
    return _read(path, ())


def ensemble_document(members: Sequence[str], mean: Mean, name: str = "") -> dict[str, Any]:
    """Make the content of an ensemble file.

    Args:
        members: Paths of the models, relative to the ensemble file.
        mean: What is averaged.
        name: Name of the ensemble.
    """
    return {"ensemble": 1, "name": name, "mean": mean, "members": [{"model": member} for member in members]}


def _content(path: Path) -> Mapping[str, Any]:
    if path.suffix.lower() != ".json" or not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise ValueError("no JSON file of at most 1 MiB")
    content = json.loads(path.read_text("utf-8"))
    if not isinstance(content, Mapping):
        raise ValueError("not a JSON object")
    return content


def _read(path: Path, within: tuple[Path, ...]) -> Group:
    real = path.resolve()
    if real in within:
        raise SpecError(f"{path}: is a member of itself; leave it out of the ensemble file {within[-1].name}")
    try:
        content = _content(path)
    except (OSError, ValueError, RecursionError) as error:
        raise SpecError(f"{path}: cannot be read as an ensemble file ({error})") from None
    if content.get("ensemble") == GROUPED and isinstance(content.get("members"), Mapping):
        content = _grouped(content["members"])
    if content.get("ensemble") != 1:
        raise SpecError(f"{path}: is an ensemble file of version {content.get('ensemble')!r}; only 1 is known")
    group = {key: value for key, value in content.items() if key != "ensemble"}
    return _group(group, path, "", (*within, real), 0)


def _grouped(groups: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the older form, lists of models by group name, to groups; a list with one entry is that model."""
    members = [
        files[0] if isinstance(files, list) and len(files) == 1 else {"name": name, "members": files}
        for name, files in groups.items()
    ]
    return {"ensemble": 1, "members": members}


def _group(content: Mapping[str, Any], path: Path, where: str, within: tuple[Path, ...], depth: int) -> Group:
    _refuse_unknown(content, KEYS, path, where)
    mean, name, members = content.get("mean", "probabilities"), content.get("name", ""), content.get("members")
    if mean not in get_args(Mean):
        raise SpecError(f"{path}: {where}mean is {mean!r}; give 'probabilities' or 'logits'")
    if not isinstance(name, str):
        raise SpecError(f"{path}: {where}name must be text")
    if not isinstance(members, list) or len(members) < 2:
        raise SpecError(f"{path}: {where}members must be a list of at least two models or groups")
    if depth >= MAX_DEPTH:
        raise SpecError(f"{path}: {where}members: groups lie more than {MAX_DEPTH} deep in each other")
    read: list[Member] = []
    models = 0
    for number, item in enumerate(members):
        read.append(_member(item, path, f"{where}members[{number}]", within, depth))
        models += read[-1].models
        if models > MAX_MODELS:
            raise SpecError(f"{path}: names more than {MAX_MODELS} models, those of its groups included")
    return Group(tuple(read), mean, name)


def _member(content: Any, path: Path, where: str, within: tuple[Path, ...], depth: int) -> Member:
    if isinstance(content, str):
        content = {"model": content}
    if not isinstance(content, Mapping) or ("model" in content) == ("members" in content):
        raise SpecError(f"{path}: {where} must be a file name, or an object with either 'model' or 'members'")
    _refuse_unknown(content, MEMBER_KEYS, path, f"{where}.")
    weight, kind = content.get("weight", 1.0), content.get("kind")
    if not is_number(weight) or weight <= 0:
        raise SpecError(f"{path}: {where}.weight is {weight!r:.60}; give a number above 0")
    if "members" in content:
        if kind is not None:
            raise SpecError(f"{path}: {where}.kind is for a member with 'model'; leave it out")
        group = {key: value for key, value in content.items() if key != "weight"}
        return Member(_group(group, path, f"{where}.", within, depth + 1), float(weight))
    extra = sorted(set(content) & set(KEYS))
    if extra:
        raise SpecError(f"{path}: {where}.{extra[0]} is for a group; leave it out beside 'model'")
    if not isinstance(content["model"], str) or not (kind is None or isinstance(kind, str)):
        raise SpecError(f"{path}: {where}: 'model' and 'kind' must be text")
    model = path.parent / content["model"]
    if not model.exists():
        raise SpecError(f"{path}: {where} names {content['model']}, and there is no {model}; copy it there")
    if kind in (None, "ensemble") and is_ensemble(model):
        if len(within) >= MAX_DEPTH:
            raise SpecError(f"{path}: {where}: ensemble files name each other more than {MAX_DEPTH} deep")
        return Member(_read(model, within), float(weight))
    return Member(model, float(weight), kind)


def _refuse_unknown(content: Mapping[str, Any], known: Sequence[str], path: Path, where: str) -> None:
    unknown = sorted(set(content) - set(known))
    if unknown:
        raise SpecError(f"{path}: {where}{unknown[0]} is not known; there are {', '.join(sorted(known))}")
