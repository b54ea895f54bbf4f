"""An ensemble that is loaded: its members, each with what was learned of it."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cached_property
from typing import Any

from itk_infer.case.loaded_model import LoadedModel
from itk_infer.case.loaded_recipe import LoadedRecipe
from itk_infer.case.plan import CasePlan
from itk_infer.model.backend import Backend
from itk_infer.model.ensemble import Ensemble, Mean
from itk_infer.model.recipe import Recipe
from itk_infer.options import Options
from itk_infer.volume.grid import Grid


class LoadedEnsemble(LoadedModel):
    """As `LoadedModel`, for all members together.

    Attributes:
        members: One each; a member may be an ensemble.
        weights: Of the members; their sum is 1.
        orders: Of the members' channels, see `channel_order`.
        mean: What is averaged.
    """

    def __init__(self, backend: Ensemble, options: Options) -> None:
        super().__init__(backend, options.changed(tta=False, batch=1))  # of members, not of the ensemble
        self.options = options
        self.members: tuple[LoadedModel, ...] = tuple(loaded(member, options) for member in backend.members)
        self.weights, self.orders = backend.weights, backend.orders
        self.mean: Mean = backend.mean
        self.auto_batch = None

    def in_safe_mode(self) -> LoadedEnsemble:
        """See `LoadedModel.in_safe_mode`."""
        twin = copy.copy(self)
        twin.members = tuple(member.in_safe_mode() for member in self.members)
        return twin

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of its members."""
        return tuple(dict.fromkeys(note for member in self.members for note in member.notes))

    @property
    def leaves(self) -> tuple[LoadedModel, ...]:
        """The models that have a network, those of members that are ensembles among them, in their order."""
        return tuple(
            leaf
            for member in self.members
            for leaf in (member.leaves if isinstance(member, LoadedEnsemble) else (member,))
        )

    @property
    def batch_size(self) -> int | None:
        """Windows per call of the first member."""
        return self.members[0].batch_size

    @cached_property
    def identity(self) -> dict[str, Any]:
        """That of the first member, with the ensemble's files, and what else differs in the others."""
        first, *others = (leaf.identity for leaf in self.leaves)
        differing = [{key: value for key, value in other.items() if first.get(key) != value} for other in others]
        return {**first, "model": self.backend.digest, "members": differing}

    def plan(self, grid: Grid, itemsize: int, *, want_logits: bool = False, batch: int | None = None) -> CasePlan:
        """The first member's plan, beside those of the others."""
        first, *others = (leaf.plan(grid, itemsize, want_logits=want_logits, batch=batch) for leaf in self.leaves)
        return replace(first, beside=tuple(others))


def loaded(backend: Backend, options: Options) -> LoadedModel:
    """A loaded model, ensemble or recipe, by what the backend is. Errors as of `Predictor`."""
    if isinstance(backend, Ensemble):
        return LoadedEnsemble(backend, options)
    if isinstance(backend, Recipe):
        return LoadedRecipe(backend, options)
    return LoadedModel(backend, options)
