"""Options in groups, so that ``--help`` can be read, and the flags that are made from `Options`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from itk_infer.errors import ConfigError
from itk_infer.option import Option, OptionError
from itk_infer.options import Options, declared, default_of
from itk_infer.outputs.registry import optional_outputs

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
# Arguments of a run and its executor that messages mention; those of `Options` declare their flags themselves.
RUN_FLAGS = {
    "address": "--address",
    "allow": "--allow",
    "allow_folder": "--allow-folder",
    "ca_file": "--ca-file",
    "case_name": "--case-name",
    "case_timeout": "--case-timeout",
    "certificate": "--certificate",
    "forget_missing": "--forget-missing",
    "free_size": "--free-size",
    "group_by": "--group-by",
    "input": "-i",
    "format": "--format",
    "kind": "--backend",
    "listen": "--listen",
    "merge_folds": "--merge-folds",
    "orthanc": "--orthanc",
    "output": "-o",
    "overwrite": "--overwrite",
    "page": "--page",
    "password_file": "--password-file",
    "recursive": "--recursive",
    "saliency": "--saliency",
    "saliency_for": "--saliency-for",
    "saliency_label": "--saliency-label",
    "saliency_layer": "--saliency-layer",
    "scheduler": "--scheduler",
    "series": "--series",
    "shard": "--shard",
    "summary": "--summary",
    "to": "--to",
    "study_rule": "--study-rule",
    "token_file": "--token-file",
    "verify": "--verify",
    **{kind.keyword: kind.flags[0] for kind in optional_outputs()},
}
MENTION = re.compile(r"`(?P<name>\w+)(=(?P<value>[^`]*))?`")
PATH = click.Path(path_type=Path)
LIST = "LIST"  # metavar of options that take several items, as 0,2 or 0 2
ITEM = re.compile(r"[\d.,]+|all")


class GroupedOption(click.Option):
    """An option with a heading, under which ``--help`` lists it."""

    def __init__(self, *args: Any, heading: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heading = heading


class GroupedCommand(click.Command):
    """A command whose ``--help`` lists options under headings."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, with the items of a list also as words of their own, which nnU-Net's users are used to."""
        flags = {flag for parameter in self.params if parameter.metavar == LIST for flag in parameter.opts}
        words: list[str] = []
        in_list = False
        for word in args:
            item = ITEM.fullmatch(word) is not None
            if in_list and item and words[-1] not in flags:
                words[-1] += f",{word}"
            else:
                words.append(word)
            in_list = word in flags or (in_list and item)
        return super().parse_args(ctx, words)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Options under their headings, in the order in which they were declared."""
        sections: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                sections[getattr(parameter, "heading", "Other")].append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def option(*names: str, heading: str, **settings: Any) -> Decorator:
    """A grouped option."""
    return click.option(*names, cls=GroupedOption, heading=heading, **settings)


def options_under(*headings: str) -> list[Decorator]:
    """The flags of the options of `Options` that stand under these headings."""
    named = (name for name, about in declared().items() if about.heading in headings)
    return [decorator for name in named for decorator in flags_of(name)]


def flags_of(name: str) -> list[Decorator]:
    """The flags of one option of `Options`: its own, and those that stand for one value of it."""
    about, default = declared()[name], default_of(name)
    settings: dict[str, Any] = {"is_flag": True}
    if about.text is not bool:
        settings = {"type": _click_type(about), "nargs": about.count, "metavar": about.metavar}
        if isinstance(default, str):
            settings |= {"default": default, "show_default": True}
        if about.bare is not None:
            settings |= {"is_flag": False, "flag_value": about.bare}
    own = option(*about.flags, name, heading=about.heading, help=about.help, **settings)
    more = [option(short.flag, is_flag=True, heading=about.heading, help=short.help) for short in about.shorthands]
    return [own, *more]


def with_flags(message: str) -> str:
    """A message of the library with flags in place of Python arguments, which it writes in backquotes.

    `batch` becomes --batch, `batch=auto` becomes --batch auto, and `precision=half` becomes --fp16. Unprintable
    characters are escaped: texts of a model file that are quoted in it could otherwise control the terminal.
    """
    from itk_infer.volume.names import printable

    return "\n".join(printable(line) for line in MENTION.sub(_flag, message).split("\n"))


def _flag(mention: re.Match[str]) -> str:
    name, value = mention["name"], mention["value"]
    about = declared().get(name)
    if about is None:
        flag = RUN_FLAGS.get(name)
        return mention[0] if flag is None else flag if value is None else f"{flag} {value}"
    for short in about.shorthands:
        if value == str(short.value):
            return short.flag
    return about.flags[0] if value is None or about.text is bool else f"{about.flags[0]} {value}"


def _click_type(about: Option) -> Any:
    if isinstance(about.text, tuple):
        return click.Choice(about.text)
    if about.least is not None:
        return click.IntRange(min=about.least)
    return PATH if about.text is Path else about.text


def decorated(command: Callable[..., Any], decorators: Sequence[Decorator]) -> Callable[..., Any]:
    """A command with options, which ``--help`` shows in this order."""
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


def read_options(given: Mapping[str, Any]) -> Options:
    """The `Options` that the flags of a command stand for.

    Args:
        given: Parameters of the command, also others than those of `Options`.

    Raises:
        click.UsageError: two flags contradict each other, or the text of one cannot be read.
        ConfigError: a value is out of range.
    """
    values = {}
    for name, about in declared().items():
        value, default = given.get(name), default_of(name)
        if about.text is bool:
            value = value or None  # a flag that was not given
        flag = about.flags[0]
        if value is not None and about.parse is not None:
            try:
                value = about.parse(value)
            except ValueError as error:
                raise click.UsageError(f"{flag} {value}: {error}") from None
        for short in about.shorthands:
            if given.get(short.flag.lstrip("-").replace("-", "_")):
                if value not in (None, default, *short.agrees):
                    raise click.UsageError(f"{short.flag} and {flag} {value} contradict each other")
                value = short.value if value in (None, default) else value
        if value is not None:
            values[name] = value
    try:
        return Options(**values)
    except OptionError as error:
        words = error.value if isinstance(error.value, tuple) else (error.value,)
        raise ConfigError(
            f"{declared()[error.option].flags[0]} {' '.join(map(str, words))}: {error.remedy}"
        ) from None
