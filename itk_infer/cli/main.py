"""The program: a group whose first word, if it is an option, means the main job."""

from __future__ import annotations

import signal
from collections.abc import Sequence

import click

from itk_infer._version import __version__
from itk_infer.cli.commands.segment import segment_command
from itk_infer.cli.options import with_flags
from itk_infer.errors import InterruptedRunError, ItkInferError

COMMANDS = {  # name: module and attribute, imported only when it is called
    "calibrate": (
        "itk_infer.cli.commands.calibrate",
        "calibrate_command",
        "Learn from cases with ground truth which masks can be accepted.",
    ),
    "classify": (
        "itk_infer.cli.commands.classify",
        "classify_command",
        "Classify pictures: probabilities of whole archives.",
    ),
    "demo": ("itk_infer.cli.commands.demo", "demo_command", "Segment two bundled scans, and draw what was found."),
    "doctor": (
        "itk_infer.cli.commands.doctor",
        "doctor_command",
        "Show what is installed, and what is wrong.",
    ),
    "export": (
        "itk_infer.cli.commands.export",
        "export_command",
        "Write a model to one ONNX file that needs nothing else.",
    ),
    "evaluate": (
        "itk_infer.cli.commands.evaluate",
        "evaluate_command",
        "Compare label maps with ground truth.",
    ),
    "inspect": ("itk_infer.cli.commands.inspect", "inspect_command", "Show the spec of a model."),
    "node": ("itk_infer.cli.commands.node", "node_command", "Segment the studies of an archive as they come."),
    "postprocess": (
        "itk_infer.cli.commands.postprocess",
        "postprocess_command",
        "Clean up label maps that exist, by rules.",
    ),
    "push": ("itk_infer.cli.commands.push", "push_command", "Send the DICOM results of a folder to an archive."),
    "report": ("itk_infer.cli.commands.report", "report_command", "Write the tables of an output folder again."),
    "series": ("itk_infer.cli.commands.series", "series_command", "List the DICOM series below a folder."),
    "serve": ("itk_infer.cli.commands.serve", "serve_command", "Segment images that programs send over HTTP."),
    "status": (
        "itk_infer.cli.commands.status",
        "status_command",
        "Show how far the runs in an output folder are.",
    ),
    "submit": ("itk_infer.cli.commands.submit", "submit_command", "Segment images on a server."),
    "thresholds": (
        "itk_infer.cli.commands.thresholds",
        "thresholds_command",
        "Find the best threshold of a model.",
    ),
    "view": ("itk_infer.cli.commands.view", "view_command", "Look at masks over their images, and decide."),
}
OWN_OPTIONS = ("--help", "-h", "--version")


class MainGroup(click.Group):
    """Options go to the main job; words are commands; for a wrong word, the nearest one is suggested."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the main job's name in front of options that belong to it."""
        if args and args[0].startswith("-") and args[0] not in OWN_OPTIONS:
            args = ["segment", *args]
        return super().parse_args(ctx, args or ["--help"])

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The words, without the main job."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command when it is called."""
        if cmd_name == "segment":
            return segment_command
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Refuse an unknown word, and name the nearest command."""
        word = args[0]
        if self.get_command(ctx, word) is None:
            import difflib

            close = difflib.get_close_matches(word, COMMANDS, n=1)
            guess = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(sorted(COMMANDS))}."
            raise click.UsageError(
                f"no command '{word}'; {guess} To segment a folder, begin with an option: itk_infer -i IN -o OUT",
                ctx,
            )
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The main job's help, with the commands before its examples."""
        main_job = click.Context(segment_command, info_name=ctx.info_name)
        segment_command.format_usage(main_job, formatter)
        segment_command.format_help_text(main_job, formatter)
        segment_command.format_options(main_job, formatter)
        self.format_commands(ctx, formatter)
        segment_command.format_epilog(main_job, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The words, each with its sentence."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in sorted(COMMANDS.items())])


@click.group(cls=MainGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="itk_infer %(version)s")
def program() -> None:
    """Run trained segmentation networks over folders of 3D medical images."""


def main(args: Sequence[str]) -> int:
    """Run the program.

    Args:
        args: Words after the program's name.

    Returns:
        0 all done, 2 usage or configuration, 3 some cases failed, 4 all failed, 5 no usable model,
        6 no input, 130 / 143 / 129 interrupted, 1 a bug, or what was asked for could not be printed.
    """
    try:
        # Click's own exit codes; the commands return theirs.
        code = program.main(list(args), prog_name="itk_infer", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except InterruptedRunError as error:  # before the first case
        click.echo("Interrupted.", err=True)
        return error.exit_code
    except ItkInferError as error:
        click.echo(f"Error: {with_flags(str(error))}", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return 128 + signal.SIGINT
