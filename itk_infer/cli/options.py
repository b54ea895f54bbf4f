"""Options in groups, so that ``--help`` can be read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
PATH = click.Path(path_type=Path)


class GroupedOption(click.Option):
    """An option that stands under a heading."""

    def __init__(self, *args: Any, heading: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heading = heading


class GroupedCommand(click.Command):
    """A command whose options stand under headings."""

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


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which model, shared by every command that loads one."""
    from itk_infer.cli.model_files import file_options

    model, spec = "Model", "Intensity and windows"
    options = [
        *file_options(),
        option("--spec", heading=model, type=PATH, help="Model spec (JSON) above what the model itself says."),
        option(
            "--device",
            heading=model,
            default="auto",
            show_default=True,
            metavar="[auto|cpu|cuda[:N]]",
            help="auto takes a GPU where there is one, and says which device it took.",
        ),
        option(
            "--provider",
            heading=model,
            type=click.Choice(["auto", "cpu", "openvino", "cuda", "tensorrt"]),
            default="auto",
            show_default=True,
            help="What runs the network; auto: CUDA on a GPU, OpenVINO on a CPU where it is installed.",
        ),
        option(
            "--precision",
            heading=model,
            type=click.Choice(["auto", "fp32", "fp16", "bf16"]),
            default="auto",
            show_default=True,
            help="auto: as the model is stored. Others are compared with fp32 on the first case.",
        ),
        option(
            "--fp16", heading=model, is_flag=True, help="The best half precision of this device, if it has one."
        ),
        option("--wl", heading=spec, type=float, help="Window level; replaces the model's own."),
        option("--ww", heading=spec, type=float, help="Window width; replaces the model's own."),
        option("--patch-size", heading=spec, type=int, nargs=3, metavar="Z Y X", help="Window size in voxels."),
        option(
            "--patch-stride",
            heading=spec,
            type=int,
            nargs=3,
            metavar="Z Y X",
            help="Step between windows; default half the patch.",
        ),
        option(
            "--blend",
            heading=spec,
            type=click.Choice(["gaussian", "constant"]),
            help="How windows count where they overlap; default the model's, else gaussian.",
        ),
        option(
            "--max-ram",
            heading=model,
            metavar="SIZE",
            help="Refuse images that need more memory, as 12G; default what the machine has.",
        ),
        option(
            "--max-vram",
            heading=model,
            metavar="SIZE",
            help="GPU memory that may be used; what does not fit is kept in host memory. Default what is free.",
        ),
        option("--tta", heading=spec, is_flag=True, help="Average over the mirrorings that the model allows."),
        option(
            "--crop-foreground",
            heading=spec,
            type=float,
            metavar="VALUE",
            help="Run only the box of voxels above VALUE after intensity; outside is background. Not exact.",
        ),
        option(
            "--skip-empty",
            heading=spec,
            is_flag=False,
            flag_value="constant",
            metavar="[VALUE]",
            help="Run windows of one value once only, which changes nothing; with VALUE, also windows nowhere "
            "above it after intensity, which may.",
        ),
        option(
            "--batch",
            heading=spec,
            metavar="[auto|N]",
            help="Windows a call; default the model's, else 1. auto: found on the first case, and remembered.",
        ),
        option(
            "--batch-cache",
            heading=spec,
            type=PATH,
            metavar="FOLDER",
            help="Where --batch auto remembers; default the user's cache folder.",
        ),
        option(
            "--no-batch-cache", heading=spec, is_flag=True, help="--batch auto searches again, remembers nothing."
        ),
    ]
    for decorate in reversed(options):
        command = decorate(command)
    return command
