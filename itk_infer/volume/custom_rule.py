"""Post-processing by a function that the user supplies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from itk_infer.errors import ConfigError, OutputError
from itk_infer.spec.labels import Label
from itk_infer.spec.postprocessing import Custom
from itk_infer.volume.grid import Grid
from itk_infer.volume.slab import LabelArray


def custom_function(rule: Custom, where: str) -> Callable[..., Any]:
    """Import the function of a rule.

    Raises:
        ConfigError: it cannot be imported.
    """
    module, _, name = rule.function.partition(":")
    try:
        function = getattr(import_module(module), name)
    except Exception as error:
        raise ConfigError(
            f"{where}: {rule.function} cannot be imported ({type(error).__name__}: {error}); its folder must be "
            "installed, or named in PYTHONPATH"
        ) from error
    if not callable(function):
        raise ConfigError(f"{where}: {rule.function} is not a function")
    return function  # type: ignore[no-any-return]


def apply_custom(result: LabelArray, grid: Grid, table: Sequence[Label], rule: Custom, where: str) -> LabelArray:
    """Apply the function of a rule to a label map; arguments and errors as for `apply_rules`."""
    function = custom_function(rule, where)
    names = {label.name: label.value for label in table}
    try:
        given = function(result.copy(), grid.spacing, names, **dict(rule.settings))
    except Exception as error:
        raise OutputError(f"{where}: {rule.function} failed ({type(error).__name__}: {error})") from error
    if not isinstance(given, np.ndarray) or given.shape != result.shape or given.dtype != result.dtype:
        what = f"{given.dtype} {given.shape}" if isinstance(given, np.ndarray) else type(given).__name__
        raise OutputError(
            f"{where}: {rule.function} returned {what}; an array of {result.dtype} {result.shape} is needed"
        )
    unknown = sorted(set(np.unique(given).tolist()) - {0, *names.values()})
    if unknown:
        raise OutputError(f"{where}: {rule.function} returned the value {unknown[0]}, which is no label")
    return np.ascontiguousarray(given)
