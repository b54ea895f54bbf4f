"""A loaded recipe and its models, each with what was found out about it."""

from __future__ import annotations

from itk_infer.case.loaded_members import LoadedMembers
from itk_infer.case.loaded_model import LoadedModel
from itk_infer.case.plan import CasePlan
from itk_infer.model.recipe import Recipe
from itk_infer.options import Options
from itk_infer.volume.grid import Grid


class LoadedRecipe(LoadedMembers):
    """A `LoadedModel` for a recipe; its members are in the order of merging.

    Attributes:
        recipe: The recipe.
    """

    def __init__(self, backend: Recipe, options: Options, members: tuple[LoadedModel, ...]) -> None:
        super().__init__(backend, options, members)
        self.recipe = backend

    def plan(
        self,
        grid: Grid,
        itemsize: int,
        *,
        want_logits: bool = False,
        batch: int | None = None,
        want_uncertainty: bool = False,
    ) -> CasePlan:
        """The plan of the model that needs the most memory, as the models run one after the other."""
        asked = {"want_logits": want_logits, "want_uncertainty": want_uncertainty}
        plans = [member.plan(grid, itemsize, batch=batch, **asked) for member in self.members]
        return max(plans, key=lambda plan: plan.memory.peak)
