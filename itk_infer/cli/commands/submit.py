"""``itk_infer submit``: images segmented on a server."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType

import click

from itk_infer.cli.options import PATH, GroupedCommand, option
from itk_infer.errors import ConfigError, InterruptedRunError
from itk_infer.outputs.output_kind import LABEL_FORMATS

SERVER, OUTPUT, RUNNING = "Server", "Output", "Running"


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("url")
@click.argument("images", type=PATH, nargs=-1, required=True, metavar="FILE...")
@option("-o", "--output", heading=OUTPUT, type=PATH, required=True, help="Output folder; created.")
@option(
    "--format",
    "label_format",
    heading=OUTPUT,
    default="same",
    show_default=True,
    type=click.Choice(LABEL_FORMATS),
    help="Format of label maps; seg.nrrd carries names and colours to 3D Slicer.",
)
@option("--save", heading=OUTPUT, multiple=True, metavar="NAME", help="Further output, as dicom_seg. Repeatable.")
@option("--overwrite", heading=OUTPUT, is_flag=True, help="Replace files that are there.")
@option(
    "-m",
    "--model",
    heading=SERVER,
    default="",
    metavar="NAME",
    help="Which of the server's models; may be left out if it has only one.",
)
@option("--token-file", heading=SERVER, type=PATH, help="File whose first line is a token of the server.")
@option(
    "--progress",
    heading=RUNNING,
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "bar", "json", "none"]),
    help="json: one object per line on stdout.",
)
@option("--quiet", heading=RUNNING, is_flag=True, help="Only warnings, failures and the end.")
def submit_command(
    url: str,
    images: tuple[Path, ...],
    output: Path,
    label_format: str,
    save: tuple[str, ...],
    overwrite: bool,
    model: str,
    token_file: Path | None,
    progress: str,
    quiet: bool,
) -> int:
    """Segment images on the server at URL, and write the label maps to a folder.

    A FILE is an image, or the folder of a DICOM series. What is there already is not computed again. When the
    program is stopped, its jobs are cancelled. See itk_infer serve.
    """
    from itk_infer.cli.progress import counted, make_listener
    from itk_infer.client.client import Client
    from itk_infer.client.images import Wanted, segment_images
    from itk_infer.events import Events
    from itk_infer.run.stop import stop_signals

    events = Events()
    events = Events([make_listener(progress, events.run, quiet=quiet, verbose=False)], events.run)
    former = [(number, signal.signal(number, _stop)) for number in stop_signals()]
    try:
        with Client(url, _token(token_file)) as client:
            wanted = Wanted(output, model, label_format, save, overwrite)
            done = segment_images(client, images, wanted, events)
    finally:
        for number, handler in former:
            signal.signal(number, handler)
    counts = f"{counted(done.done, 'image')} done, {done.failed} failed, {done.skipped} skipped"
    click.echo(f"{counts} in {done.seconds:.1f} s", err=True)
    return done.exit_code


def _stop(number: int, frame: FrameType | None) -> None:
    raise InterruptedRunError(number)


def _token(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text("utf-8").split()[0]
    except (OSError, UnicodeError, IndexError):
        raise ConfigError(f"{path}: cannot be read, or is empty; `token_file` names a file with a token") from None
