"""The flags that name a model: ``--model`` for any kind, and those of each kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from itk_infer.cli.options import PATH, Decorator, option
from itk_infer.model.registry import MODEL_KINDS, ModelKind, kind_named
from itk_infer.options_of_models import MODEL


def file_options() -> list[Decorator]:
    """The flags, in the order in which ``--help`` shows them."""
    return [
        option(
            "-m",
            "--model",
            heading=MODEL,
            type=PATH,
            multiple=True,
            help="File or folder of a model; its kind is recognised.",
        ),
        option(
            "--backend",
            heading=MODEL,
            type=click.Choice([kind.name for kind in MODEL_KINDS]),
            help="Kind of the model. May be left out: -m recognises it, and the flags below name it.",
        ),
        *(
            option(*flag.names, heading=MODEL, type=PATH, help=flag.help)
            for kind in MODEL_KINDS
            for flag in kind.flags
        ),
    ]


def named_model(given: Mapping[str, Any]) -> tuple[tuple[Path, ...], str | None]:
    """The paths of the model, and the name of its kind; None: recognised later, from the path.

    Args:
        given: Parameters of the command, also others than those of `file_options`.

    Raises:
        click.UsageError: the flags do not name one model.
    """
    name: str | None = given["backend"]
    used = [kind for kind in MODEL_KINDS if any(given[flag.parameter] is not None for flag in kind.flags)]
    if len(used) > 1 or (used and given["model"]):
        ways = [*(["-m"] if given["model"] else []), *map(_names, used)]
        raise click.UsageError(f"{' and '.join(ways)} name {_count(len(ways))} models; give one of them")
    if given["model"]:
        return given["model"], name
    if not used and name is None:
        usages = [_usage(kind) for kind in MODEL_KINDS if kind.flags]
        raise click.UsageError(f"no model: give {', or '.join([*usages, '-m MODEL'])}")
    kind = used[0] if name is None else kind_named(name)
    paths = tuple(path for flag in kind.flags if (path := given[flag.parameter]) is not None)
    if not paths or len(paths) < len(kind.flags):
        both = "both " if len(kind.flags) > 1 else ""
        raise click.UsageError(f"--backend {kind.name} needs {both}{_usage(kind) or '-m MODEL'}")
    return paths, kind.name


def _count(number: int) -> str:
    return "two" if number == 2 else str(number)


def _names(kind: ModelKind) -> str:
    return "/".join(flag.names[0] for flag in kind.flags)


def _usage(kind: ModelKind) -> str:
    return " and ".join(map(str, kind.flags))
