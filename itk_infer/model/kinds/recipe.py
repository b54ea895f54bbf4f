"""Recipes: several models, each for some of the labels, whose label maps are merged into one. A JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from itk_infer.errors import ModelError
from itk_infer.model.backend import BackendOptions
from itk_infer.model.recipe import Recipe, RecipePart
from itk_infer.model.spec_json import read_json
from itk_infer.model.spec_sources import Document, SpecSources
from itk_infer.spec import merge
from itk_infer.spec.values import Invalid, a_list, a_text, an_integer, anything, read_block

_START = 4096  # bytes within which the key must be


def is_recipe(path: Path) -> bool:
    """Whether a file is a recipe: JSON that begins with the key ``recipe``."""
    try:
        if path.suffix != ".json" or not path.is_file():
            return False
        with path.open("rb") as file:
            start = file.read(_START)
        return start.lstrip().startswith(b"{") and start.lstrip(b"{ \t\r\n").startswith(b'"recipe"')
    except OSError:
        return False


def load(paths: Sequence[Path], spec_sources: SpecSources, options: BackendOptions) -> Recipe:
    """Load all models of a recipe.

    Args:
        paths: The file. Its ``models`` are merged in their order, later labels over earlier ones; each has a
            ``model`` (a path, relative to the file), and may have ``labels`` (from label name to value in the
            merged map; others are left out) and a ``spec``, which takes precedence over the model's own. The
            file's ``spec`` is for all models.
        spec_sources: Further sources of the models' specs.
        options: Where and how to run them.

    Raises:
        ModelError: the file or one of the models cannot be used.
        ConfigError: the models do not fit each other.
    """
    from itk_infer.model.registry import load_backend

    (path,) = paths
    content = read_json(path)
    try:
        block = read_block(content, "", {"recipe": an_integer, "name": a_text, "spec": anything, "models": a_list})
        models = [_model(item, f"models[{number}]") for number, item in enumerate(block.get("models", []))]
    except Invalid as error:
        raise ModelError(f"{path}: {error}") from None
    if block.get("recipe") != 1 or not models:
        raise ModelError(f'{path}: a recipe has "recipe": 1 and at least one of "models"')
    parts = []
    for model in models:
        where = (path.parent / model["model"]).resolve()
        if is_recipe(where):  # which could name this one
            raise ModelError(f"{path}: {model['model']} is a recipe, too; name its models here instead")
        documents = [block.get("spec", {}), model.get("spec", {})]
        own = Document(f"{path}, {model['model']}", merge(*documents))
        backend = load_backend(None, [where], replace(spec_sources, above=(*spec_sources.above, own)), options)
        parts.append(RecipePart(model["model"], backend, _values(model.get("labels"))))
    return Recipe(block.get("name", path.stem), parts, json.dumps(content))


def _model(item: Any, where: str) -> dict[str, Any]:
    values = read_block(item, where, {"model": a_text, "labels": anything, "spec": anything})
    if "model" not in values:
        raise Invalid(f"{where} needs a model: the path of its file or folder")
    for key in ("labels", "spec"):
        if not isinstance(values.get(key, {}), Mapping):
            raise Invalid(f"{where}.{key} must be an object")
    for name, value in values.get("labels", {}).items():
        if not 1 <= an_integer(value, f"{where}.labels.{name}") <= 65535:
            raise Invalid(f"{where}.labels.{name} is {value}; label values lie between 1 and 65535")
    return values


def _values(labels: Mapping[str, int] | None) -> dict[str, int] | None:
    return None if labels is None else dict(labels)
