"""Ensembles described by a file: load the models that it lists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from itk_infer.errors import ConfigError, SpecError
from itk_infer.model.backend import Backend, BackendOptions
from itk_infer.model.kinds.ensemble_file import Group, Member, read_ensemble
from itk_infer.model.kinds.recipe import is_recipe
from itk_infer.model.mean_of_networks import averaged
from itk_infer.model.registry import load_backend, member_options
from itk_infer.model.spec_sources import SpecSources


def load(paths: Sequence[Path], spec_sources: SpecSources, options: BackendOptions) -> Backend:
    """Load all models of an ensemble file.

    Args:
        paths: The file, see `read_ensemble`.
        spec_sources: Further sources of each model's spec.
        options: Where and how to run them; `weights` replaces those of the file's outermost group.

    Raises:
        SpecError: the file is invalid.
        ModelError: a model cannot be loaded.
        ConfigError: the models cannot be averaged.
    """
    (path,) = paths
    group = read_ensemble(path)
    try:
        return _loaded(group, spec_sources, options, options.weights or group.weights)
    except SpecError:
        raise
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _loaded(
    group: Group, spec_sources: SpecSources, options: BackendOptions, weights: Sequence[float] | None
) -> Backend:
    members = [_member(member, spec_sources, options) for member in group.members]
    return averaged(members, [member.name for member in group.members], weights, group.mean, group.name)


def _member(member: Member, spec_sources: SpecSources, options: BackendOptions) -> Backend:
    if isinstance(member.content, Group):
        return _loaded(member.content, spec_sources, options, member.content.weights)
    if member.kind == "recipe" or (member.kind is None and is_recipe(member.content)):
        raise ConfigError(f"{member.name} is a recipe, whose masks cannot be averaged; name its models instead")
    return load_backend(member.kind, [member.content], spec_sources, member_options(options))
