"""A recipe that is loaded: its models, each with what was learned of it."""

from __future__ import annotations

import copy
from functools import cached_property
from typing import Any

from itk_infer.case.loaded_model import LoadedModel
from itk_infer.case.plan import CasePlan
from itk_infer.model.recipe import Recipe
from itk_infer.options import Options
from itk_infer.volume.grid import Grid


class LoadedRecipe(LoadedModel):
    """As `LoadedModel`, for all models of a recipe.

    Attributes:
        recipe: What they are together.
        members: One each, in the order of merging.
    """

    def __init__(self, backend: Recipe, options: Options) -> None:
        from itk_infer.case.loaded_ensemble import loaded  # a model of a recipe may be an ensemble

        super().__init__(backend, options.changed(tta=False, batch=1))  # of the models, not of the recipe
        self.options = options
        self.recipe = backend
        self.members = tuple(loaded(part.backend, options) for part in backend.parts)

    def in_safe_mode(self) -> LoadedRecipe:
        """See `LoadedModel.in_safe_mode`."""
        twin = copy.copy(self)
        twin.members = tuple(member.in_safe_mode() for member in self.members)
        return twin

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of its members."""
        return tuple(dict.fromkeys(note for member in self.members for note in member.notes))

    @property
    def batch_size(self) -> int | None:
        """Windows per call of the first model."""
        return self.members[0].batch_size

    @cached_property
    def identity(self) -> dict[str, Any]:
        """That of the first model, with the recipe's files, and what else differs in the others."""
        first, *others = (member.identity for member in self.members)
        differing = [{key: value for key, value in other.items() if first.get(key) != value} for other in others]
        return {**first, "model": self.backend.digest, "members": differing}

    def plan(self, grid: Grid, itemsize: int, *, want_logits: bool = False, batch: int | None = None) -> CasePlan:
        """The plan of the model that needs the most memory: they run one after the other."""
        plans = [member.plan(grid, itemsize, want_logits=want_logits, batch=batch) for member in self.members]
        return max(plans, key=lambda plan: plan.memory.peak)
