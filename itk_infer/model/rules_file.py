"""Post-processing rules in a file that the user gave, which is the only source that may name functions to run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from itk_infer.errors import ConfigError, SpecError
from itk_infer.model.spec_json import read_json
from itk_infer.spec.parse_rules import parse_rules
from itk_infer.spec.postprocessing import Custom, Rule


def read_rules(path: Path) -> tuple[Rule, ...]:
    """Read the rules of a file. Functions that it names are not run.

    Raises:
        SpecError: the file cannot be read, or is invalid.
        ConfigError: a module that it names does not exist.
    """
    given = parse_rules(read_json(path), str(path))
    return tuple(replace(rule, sha256=_digest(rule, path)) if isinstance(rule, Custom) else rule for rule in given)


def refuse_functions(content: Any, source: str) -> None:
    """Refuse a spec that names functions: it may come with a model, and code of models is not run.

    Raises:
        SpecError: it names a function.
    """
    output = content.get("output") if isinstance(content, Mapping) else None
    given = output.get("postprocessing") if isinstance(output, Mapping) else None
    for rule in given if isinstance(given, list | tuple) else ():
        if isinstance(rule, Mapping) and rule.get("op") == "custom":
            raise SpecError(
                f"{source}: a model spec names a function to run ({rule.get('function')!r}); functions are run "
                "only from a file of rules that is given by `postprocess`"
            )


def _digest(rule: Custom, source: Path) -> str:
    """SHA-256 of the file of the function's module."""
    module = rule.function.partition(":")[0]
    try:
        found = find_spec(module)
    except (ImportError, ValueError, AttributeError):
        found = None
    if found is None:
        raise ConfigError(
            f"{source}: there is no module {module} for {rule.function}; its folder must be installed, or named "
            "in PYTHONPATH"
        )
    origin = Path(found.origin or "")
    return hashlib.sha256(origin.read_bytes()).hexdigest() if origin.is_file() else ""
