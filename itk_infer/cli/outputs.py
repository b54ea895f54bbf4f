"""The options that ask for outputs, one for each flag in the table of outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from itk_infer.cli.options import option
from itk_infer.options_of_models import WRITTEN
from itk_infer.outputs.output_kind import OutputKind
from itk_infer.outputs.registry import optional_outputs


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The flags of all outputs that are written on request."""
    for keyword, kinds in reversed(_by_keyword().items()):
        kind = kinds[0]
        settings: dict[str, Any] = {"is_flag": True}
        if kind.choice:
            settings = {"metavar": f"[{','.join(other.choice for other in kinds)}]"}
        command = option(*kind.flags, keyword, heading=WRITTEN, help=kind.help, **settings)(command)
    return command


def outputs_asked_for(options: dict[str, Any]) -> tuple[str, ...]:
    """Names of the outputs whose flags were given; takes the flags out of the options.

    Raises:
        click.UsageError: a list contains a word that does not name an output.
    """
    names: list[str] = []
    for keyword, kinds in _by_keyword().items():
        given = options.pop(keyword)
        if not kinds[0].choice:
            names += [kind.name for kind in kinds if given]
            continue
        words = [word.strip() for word in (given or "").split(",") if word.strip()]
        known = {kind.choice: kind.name for kind in kinds}
        if given is not None and (not words or not set(words) <= known.keys()):
            raise click.UsageError(
                f"{kinds[0].flags[0]} {given}: a list of {', '.join(known)}, separated by commas"
            )
        names += [name for choice, name in known.items() if choice in words]
    return tuple(names)


def _by_keyword() -> dict[str, list[OutputKind]]:
    found: dict[str, list[OutputKind]] = {}
    for kind in optional_outputs():
        found.setdefault(kind.keyword, []).append(kind)
    return found
