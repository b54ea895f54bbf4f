"""Which class holds a backend that is loaded."""

from __future__ import annotations

from itk_infer.case.loaded_ensemble import LoadedEnsemble
from itk_infer.case.loaded_model import LoadedModel
from itk_infer.case.loaded_recipe import LoadedRecipe
from itk_infer.model.backend import Backend
from itk_infer.model.ensemble import Ensemble
from itk_infer.model.recipe import Recipe
from itk_infer.options import Options


def loaded(backend: Backend, options: Options) -> LoadedModel:
    """A backend with the options of its cases."""
    if isinstance(backend, Ensemble):
        return LoadedEnsemble(backend, options)
    if isinstance(backend, Recipe):
        return LoadedRecipe(backend, options)
    return LoadedModel(backend, options)
