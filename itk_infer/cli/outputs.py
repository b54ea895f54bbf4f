"""The options that ask for outputs, one for each line of the table that has a flag."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from itk_infer.cli.options import option
from itk_infer.options_of_models import WRITTEN
from itk_infer.outputs.registry import optional_outputs


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The flags of all outputs that are written on request."""
    for kind in reversed(optional_outputs()):
        command = option(*kind.flags, kind.keyword, heading=WRITTEN, is_flag=True, help=kind.help)(command)
    return command


def outputs_asked_for(options: dict[str, Any]) -> tuple[str, ...]:
    """Names of the outputs whose flags were given; takes the flags out of the options."""
    return tuple(kind.name for kind in optional_outputs() if options.pop(kind.keyword))
