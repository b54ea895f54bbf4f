"""``itk_infer serve``: a server for programs on this machine or, with a token, on others."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from itk_infer.cli.options import PATH, GroupedCommand, decorated, flags_of, option, options_under, read_options
from itk_infer.errors import ConfigError
from itk_infer.options import default_of
from itk_infer.options_of_models import MODEL, WINDOWS

if TYPE_CHECKING:
    from itk_infer.executors.loader import ModelRequest
    from itk_infer.service.settings import ServiceSettings

FILES, ACCESS, LIMITS, RUNNING = "Models and files", "Access", "Limits", "Running"
DAY_S = 86400.0


class SizeType(click.ParamType[int]):
    """Bytes, as 12G."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of bytes."""
        from itk_infer.option_values import parse_bytes

        try:
            return value if isinstance(value, int) else parse_bytes(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


SIZE = SizeType()
OPTIONS = [
    option(
        "-m",
        "--model",
        "models",
        heading=FILES,
        multiple=True,
        required=True,
        metavar="[NAME=]MODEL",
        help="File or folder of a model, and the name that clients use; default its stem. Repeatable.",
    ),
    option("--home", heading=FILES, type=PATH, required=True, help="Folder of queue and jobs; created."),
    option(
        "--allow-folder",
        heading=FILES,
        type=PATH,
        help="Clients may name images in this folder instead of uploading them.",
    ),
    option(
        "--monai-label",
        heading=ACCESS,
        is_flag=True,
        help="Also be a MONAI Label server, for 3D Slicer and OHIF; label maps are on the input's grid.",
    ),
    option(
        "--address",
        heading=ACCESS,
        default="127.0.0.1:8000",
        show_default=True,
        metavar="HOST:PORT",
        help="Where to listen. Addresses that others can reach need --token-file.",
    ),
    option("--token-file", heading=ACCESS, type=PATH, help="File with one token per line, for clients to send."),
    option(
        "--host-name",
        "hosts",
        heading=ACCESS,
        multiple=True,
        metavar="NAME",
        help="A further name by which the server is called, as behind a proxy. Repeatable.",
    ),
    option(
        "--allow-origin",
        "origins",
        heading=ACCESS,
        multiple=True,
        metavar="URL",
        help="Web pages of this server may call it, as https://viewer.example. Repeatable.",
    ),
    option("--max-upload", heading=LIMITS, type=SIZE, default="2G", show_default=True, help="Bytes of an upload."),
    option(
        "--max-image",
        heading=LIMITS,
        type=SIZE,
        default="8G",
        show_default=True,
        help="Bytes of an image's voxels, decoded.",
    ),
    option(
        "--max-uploads",
        heading=LIMITS,
        type=click.IntRange(min=1),
        default=8,
        show_default=True,
        metavar="N",
        help="Uploads at a time.",
    ),
    option(
        "--max-waiting",
        heading=LIMITS,
        type=click.IntRange(min=1),
        default=1000,
        show_default=True,
        metavar="N",
        help="Jobs that may wait; more are refused.",
    ),
    option(
        "--min-free",
        heading=LIMITS,
        type=SIZE,
        default="1G",
        show_default=True,
        help="Disk space to leave free.",
    ),
    option(
        "--keep-days",
        heading=LIMITS,
        type=click.FloatRange(min=0),
        default=7.0,
        show_default=True,
        metavar="DAYS",
        help="Ended jobs are deleted after so long.",
    ),
    option(
        "--keep-size",
        heading=LIMITS,
        type=SIZE,
        default="50G",
        show_default=True,
        help="Files of ended jobs; the oldest are deleted beyond it.",
    ),
    option(
        "--max-loaded",
        heading=RUNNING,
        type=click.IntRange(min=1),
        default=2,
        show_default=True,
        metavar="N",
        help="Models in memory at a time, per device; the least recently used one is unloaded.",
    ),
    option(
        "--gpus", heading=RUNNING, type=click.IntRange(min=1), metavar="N", help="A job per GPU, on the first N."
    ),
    option(
        "--case-timeout",
        heading=RUNNING,
        type=click.FloatRange(min=0, min_open=True),
        metavar="S",
        help="Fail a job that takes longer than S seconds.",
    ),
    *flags_of("threads"),
    *options_under(MODEL, WINDOWS),
    *flags_of("orientation"),
    *flags_of("seg_type"),
    *flags_of("series_number"),
]


def _with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    return decorated(command, OPTIONS)


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@_with_options
def serve_command(
    models: tuple[str, ...],
    home: Path,
    address: str,
    token_file: Path | None,
    hosts: tuple[str, ...],
    origins: tuple[str, ...],
    monai_label: bool,
    **given: Any,
) -> int:
    """Segment images that other programs send over HTTP.

    Jobs are queued in the folder of --home, and survive a restart. Only programs on this machine reach the server,
    unless --address says otherwise. See docs/server.md for the interface.
    """
    host, port = _address(address)
    try:
        from itk_infer.service.guard import make_access
        from itk_infer.service.server import bound_socket, run_server
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the server needs {error.name}, which is not installed: pip install 'itk_infer[server]'"
        ) from None
    from itk_infer.files.temporary import SHARED_MEMORY, temporary_folder
    from itk_infer.run.stop import StopRequest
    from itk_infer.service.service import Service, check_home

    if monai_label and given["orientation"] == default_of("orientation"):
        given["orientation"] = "input"
    access = make_access(host, token_file, hosts, origins)
    settings = _settings(_requests(models, **given), home, **given)
    check_home(home)
    with (
        temporary_folder(home, SHARED_MEMORY),
        StopRequest() as stop,
        bound_socket(host, port) as listening,
        Service(settings, lambda sentence: click.echo(sentence, err=True)) as service,
    ):
        bound = listening.getsockname()
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]

        def on_start() -> None:
            click.echo(f"Serving http://{shown}:{bound[1]}", err=True)

        run_server(service, access, listening, stop, on_start, monai_label=monai_label)
    return 0


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise click.UsageError(f"--address {text}: give HOST:PORT, such as 127.0.0.1:8000")
    return host, int(port)


def _requests(models: tuple[str, ...], **given: Any) -> dict[str, ModelRequest]:
    """The models by their names."""
    from itk_infer.executors.loader import ModelRequest

    options = read_options(given)
    requests: dict[str, ModelRequest] = {}
    for text in models:
        name, separator, path = text.partition("=")
        if not separator:
            name, path = Path(text).name.removesuffix(".onnx"), text
        if not name or name in requests:
            raise click.UsageError(f"-m {text}: two models need two names; give them as NAME=MODEL")
        if not Path(path).exists():
            raise click.UsageError(f"-m {text}: no such file or folder")
        requests[name] = ModelRequest((Path(path),), None, options).absolute()
    return requests


def _settings(requests: dict[str, ModelRequest], home: Path, **given: Any) -> ServiceSettings:
    from itk_infer.executors.gpus import VARIABLE, place_workers
    from itk_infer.service.settings import ServiceSettings

    placements = place_workers(
        None, gpus=given["gpus"], threads=given["threads"], visible=os.environ.get(VARIABLE)
    )
    return ServiceSettings(
        home=home,
        models=requests,
        placements=placements,
        max_loaded=given["max_loaded"],
        max_waiting=given["max_waiting"],
        max_upload=given["max_upload"],
        max_image=given["max_image"],
        max_uploads=given["max_uploads"],
        min_free=given["min_free"],
        keep_s=given["keep_days"] * DAY_S,
        keep_bytes=given["keep_size"],
        case_timeout=given["case_timeout"],
        allow_folder=given["allow_folder"],
    )
