"""The main job: a folder of images in, label maps out."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from itk_infer.cli.calibration import calibration_option, read_calibration
from itk_infer.cli.executors import execution_options
from itk_infer.cli.model import model_options, model_request
from itk_infer.cli.options import PATH, GroupedCommand, flags_of, option, with_flags
from itk_infer.cli.outputs import output_options, outputs_asked_for
from itk_infer.options_of_models import WRITTEN as OUTPUTS
from itk_infer.outputs.output_kind import LABEL_FORMATS
from itk_infer.streams import lost_output

if TYPE_CHECKING:
    from itk_infer.executors.loader import ModelInfo, ModelRequest
    from itk_infer.run.settings import RunSettings

FILES, RUNNING = "Input and output", "Running"
EXAMPLES = """\b
Examples:
  itk_infer -i scans -o masks -m liver.onnx
  itk_infer -i scans -o masks --onnx old.onnx --wl 50 --ww 400
  itk_infer -i scans -o masks -cfg config.py -ckpt best.pth --save-conf
  itk_infer -i scans -o masks --onnx liver.onnx --num-proc 4 --gpus 2
  itk_infer -i scans -o masks --onnx liver.onnx --dry-run
  itk_infer demo

\b
Exit codes: 0 all done, 2 usage or configuration, 3 some cases failed,
4 all failed, 5 no usable model, 6 no input, 130/143 interrupted.
"""


class MainJobContext(click.Context):
    """The main job has no command name; messages name the program alone."""

    @property
    def command_path(self) -> str:
        """The group's name, without this command's."""
        return self.parent.command_path if self.parent else super().command_path


class MainJob(GroupedCommand):
    """The command that runs where the first word is an option."""

    context_class = MainJobContext

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, and explain the extra words that a shell makes of a pattern such as scans/*.nii.gz."""
        ctx.allow_extra_args = True
        rest = super().parse_args(ctx, args)
        if ctx.args and not ctx.resilient_parsing:
            more = f" and {len(ctx.args) - 1} more" if len(ctx.args) > 1 else ""
            ctx.fail(
                f"{ctx.args[0]}{more}: belongs to no option; -i takes one image or one folder, and no pattern"
            )
        return rest


@click.command(
    cls=MainJob,
    epilog=EXAMPLES,
    options_metavar="-i IN -o OUT -m MODEL [OPTIONS]",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@option("-i", "--input-folder", heading=FILES, type=PATH, required=True, help="Folder of images, or one image.")
@option(
    "-o",
    "--output",
    heading=FILES,
    type=PATH,
    required=True,
    help="Output folder; created. For one image also a file.",
)
@option("--recursive", heading=FILES, is_flag=True, help="Search sub-folders, and keep them in the output.")
@option(
    "--series", "series_rule", heading=FILES, type=PATH, help="Rule (JSON) that picks the DICOM series of a study."
)
@option("--case-name", heading=FILES, default="", help="Name of DICOM cases, such as '{PatientID}_{StudyDate}'.")
@model_options
@output_options
@flags_of("orientation")[0]
@flags_of("picture_style")[0]
@flags_of("seg_type")[0]
@flags_of("series_number")[0]
@flags_of("picture_dpi")[0]
@option(
    "--format",
    "file_format",
    heading=OUTPUTS,
    default="same",
    show_default=True,
    type=click.Choice(LABEL_FORMATS),
    help="Format of label maps; seg.nrrd carries names and colours to 3D Slicer.",
)
@calibration_option(OUTPUTS)
@option("--overwrite", heading=OUTPUTS, is_flag=True, help="Compute everything again, replace what is there.")
@execution_options
@option("--summary", heading=RUNNING, type=PATH, help="Write what became of each case to this file, as JSON.")
@option("--dry-run", heading=RUNNING, is_flag=True, help="Print the plan, and write nothing.")
@option(
    "--progress",
    heading=RUNNING,
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "bar", "json", "none"]),
    help="json: one object per line on stdout.",
)
@option("--quiet", heading=RUNNING, is_flag=True, help="Only warnings, failures and the end.")
@option(
    "--verbose",
    heading=RUNNING,
    is_flag=True,
    help="Also the time of each stage, and the description of the model.",
)
def segment_command(
    input_folder: Path,
    output: Path,
    recursive: bool,
    series_rule: Path | None,
    case_name: str,
    file_format: str,
    calibration: Path | None,
    overwrite: bool,
    shard: str | None,
    summary: Path | None,
    dry_run: bool,
    progress: str,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> int:
    """Run a trained segmentation network over a folder of 3D medical images.

    Every image, and every DICOM series, gets a label map of the same name. A second run does only what is missing.
    MODEL is an ONNX file, or a folder with an MMEngine config and its checkpoint.
    """
    if quiet and verbose:
        raise click.UsageError("--quiet and --verbose exclude each other")
    if not input_folder.exists():
        raise click.UsageError(f"-i {input_folder}: no such file or folder")
    if summary is not None and (summary.is_dir() or not summary.absolute().parent.is_dir()):
        raise click.UsageError(f"--summary {summary}: give a file in a folder that is there")
    from itk_infer.run.destination import with_destination
    from itk_infer.run.series_rules import read_rules
    from itk_infer.run.settings import RunSettings
    from itk_infer.run.shard import parse_shard

    save = outputs_asked_for(options)
    request = model_request(**options)
    settings = with_destination(
        RunSettings(
            input_folder,
            output,
            recursive,
            file_format,
            overwrite=overwrite,
            shard=None if shard is None else parse_shard(shard, os.environ),
            save=save,
            series=() if series_rule is None else read_rules(series_rule),
            case_name=case_name,
            calibration=read_calibration(calibration),
            summary=summary,
        )
    )
    if settings.calibration is not None:
        if settings.shard is not None:
            raise click.UsageError("--calibration: a shard writes no tables; give it to itk_infer report")
        if settings.file_name is not None:
            raise click.UsageError("--calibration: one output file has no tables; give an output folder")
        settings = replace(settings, save=(*settings.save, "workbook"))  # the verdicts are there
    if dry_run:
        return _dry_run(request, settings, quiet=quiet, verbose=verbose)
    from itk_infer.cli.executors import make_executor
    from itk_infer.cli.progress import make_listener
    from itk_infer.cli.summary import print_summary
    from itk_infer.events import Events
    from itk_infer.run.folder import run_cases

    executor = make_executor(request, settings.output, **options)
    events = Events()
    listener = make_listener(progress, events.run, quiet=quiet, verbose=verbose)
    events = Events([listener], events.run)
    ended = run_cases(
        executor,
        settings,
        events,
        sys.argv,
        lambda facts: _tell_model(facts, quiet=quiet, verbose=verbose),
    )
    print_summary(ended, settings, verbose=verbose)
    return ended.exit_code


def _dry_run(request: ModelRequest, settings: RunSettings, *, quiet: bool, verbose: bool) -> int:
    from itk_infer.cli.dry_run import print_plan
    from itk_infer.executors.loader import model_info
    from itk_infer.files.temporary import SHARED_MEMORY, temporary_folder

    with temporary_folder(SHARED_MEMORY, settings.output):
        predictor = request.load()
        _tell_model(model_info(predictor), quiet=quiet, verbose=verbose)
        print_plan(predictor, settings)
    return 1 if lost_output() else 0


def _tell_model(facts: ModelInfo, *, quiet: bool, verbose: bool) -> None:
    for note in facts.notes:
        click.echo(with_flags(note), err=True)
    if verbose:
        from itk_infer.cli.commands.inspect import model_text

        click.echo(model_text(facts.about), err=True)
