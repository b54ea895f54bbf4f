"""A loaded ensemble and its members, each with what was found out about it."""

from __future__ import annotations

from dataclasses import replace

from itk_infer.case.loaded_members import LoadedMembers
from itk_infer.case.loaded_model import LoadedModel
from itk_infer.case.loaded_recipe import LoadedRecipe
from itk_infer.case.plan import CasePlan
from itk_infer.errors import ConfigError
from itk_infer.machine import MIB
from itk_infer.model.backend import Backend
from itk_infer.model.ensemble import Ensemble, Mean
from itk_infer.model.recipe import Recipe
from itk_infer.options import Options
from itk_infer.volume.grid import Grid


class LoadedEnsemble(LoadedMembers):
    """A `LoadedModel` for an ensemble.

    Attributes:
        weights: Weights of the members; their sum is 1.
        orders: For each member the order of its channels, see `channel_order`.
        mean: What is averaged: probabilities or logits.
    """

    def __init__(self, backend: Ensemble, options: Options) -> None:
        for name in ("stability", "mc_dropout", "dropout_seed"):
            if getattr(options, name):
                raise ConfigError(
                    f"`{name}`: the models of an ensemble are compared as they are; leave it out, or give one"
                )
        single = options.changed(agreement=False)
        super().__init__(backend, options, tuple(loaded(member, single) for member in backend.members))
        self.weights, self.orders = backend.weights, backend.orders
        self.mean: Mean = backend.mean

    def plan(
        self,
        grid: Grid,
        itemsize: int,
        *,
        want_logits: bool = False,
        batch: int | None = None,
        want_uncertainty: bool = False,
    ) -> CasePlan:
        """The first member's plan with the others `beside` it; in ranges of planes if memory is too small."""
        asked = {"want_logits": want_logits, "want_uncertainty": want_uncertainty}
        first, *others = (leaf.plan(grid, itemsize, batch=batch, **asked) for leaf in self.leaves)
        together, bound = replace(first, beside=tuple(others)), self.workspaces.bound
        needed = together.memory.peak
        if bound is None or needed <= bound.bytes:
            return together
        for ranges in range(2, together.native.size[0] + 1):
            plan = replace(together, ranges=ranges)
            if plan.memory.peak <= bound.bytes:
                note = (
                    f"the {len(self.leaves)} models need about {needed / MIB:,.0f} MiB together, and "
                    f"{bound.bytes / MIB:,.0f} MiB may be used: they run one after the other, in each of {ranges} "
                    "ranges of planes, which takes longer, and are not compared"
                )
                return replace(plan, warnings=(*plan.warnings, note))
        return together


def loaded(backend: Backend, options: Options) -> LoadedModel:
    """Return a loaded model, ensemble or recipe, depending on the backend; raises what `Predictor` raises."""
    if isinstance(backend, Ensemble):
        return LoadedEnsemble(backend, options)
    if isinstance(backend, Recipe):
        return LoadedRecipe(backend, options, tuple(loaded(part.backend, options) for part in backend.parts))
    return LoadedModel(backend, options)
