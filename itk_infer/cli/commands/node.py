"""``itk_infer node``: studies from an archive, results back to it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from itk_infer.cli.commands.serve import SIZE
from itk_infer.cli.executors import place_options, placements_of
from itk_infer.cli.model import model_options, model_request
from itk_infer.cli.options import PATH, GroupedCommand, decorated, flags_of, option, with_flags
from itk_infer.cli.outputs import output_options, outputs_asked_for
from itk_infer.cli.pacs import TO_HELP, access_options, read_access
from itk_infer.outputs.output_kind import LABEL_FORMATS
from itk_infer.outputs.registry import case_outputs

if TYPE_CHECKING:
    from itk_infer.service.pacs.node_settings import NodeSettings

STUDIES, RESULTS, RUNNING = "Studies", "Results", "Running"
DICOM = {kind.name for kind in case_outputs() if (kind.ending or "").endswith(".dcm")}  # what an archive takes
DEFAULT_DICOM = ("dicom_seg", "dicom_sr", "dicom_report")
HOUR_S, DAY_S = 3600.0, 86400.0
PERIOD = click.FloatRange(min=0)


def _node_options(command: Callable[..., Any]) -> Callable[..., Any]:
    return decorated(
        command,
        [
            option("--orthanc", heading=STUDIES, metavar="URL", help="Take studies from this Orthanc."),
            option("--listen", heading=STUDIES, metavar="AET@HOST:PORT", help="Or receive them here by C-STORE."),
            option(
                "--allow",
                "allowed",
                heading=STUDIES,
                multiple=True,
                metavar="AET",
                help="Only this title may send. Repeatable.",
            ),
            option(
                "--series",
                "series_rule",
                heading=STUDIES,
                type=PATH,
                help="Rule (JSON) that picks the series of a study.",
            ),
            option(
                "--quiet",
                heading=STUDIES,
                type=PERIOD,
                default=30.0,
                show_default=True,
                metavar="S",
                help="A study is complete when no image of it has arrived for so long.",
            ),
            option(
                "--poll",
                heading=STUDIES,
                type=click.FloatRange(min=0, min_open=True),
                default=2.0,
                show_default=True,
                metavar="S",
                help="Time between two checks for new studies.",
            ),
            option(
                "--only-new",
                heading=STUDIES,
                is_flag=True,
                help="At the first start, skip studies already there.",
            ),
            option("--retry-failed", heading=STUDIES, is_flag=True, help="Compute again what failed before."),
            option(
                "--send",
                heading=RESULTS,
                multiple=True,
                metavar="KIND=ADDRESS",
                help=f"{TO_HELP} Default: back to the Orthanc.",
            ),
            option("--no-send", heading=RESULTS, is_flag=True, help="Leave results in --home."),
            option(
                "--format",
                "file_format",
                heading=RESULTS,
                default="same",
                show_default=True,
                type=click.Choice(LABEL_FORMATS),
                help="File format of label maps in --home.",
            ),
            option(
                "--give-up",
                heading=RESULTS,
                type=PERIOD,
                default=24.0,
                show_default=True,
                metavar="HOURS",
                help="A result that cannot be sent for so long is a dead letter.",
            ),
            option("--home", heading=RUNNING, type=PATH, required=True, help="Folder of this node; created."),
            option("--once", heading=RUNNING, is_flag=True, help="Compute what is complete now, and end."),
            option(
                "--page",
                heading=RUNNING,
                default="127.0.0.1:8043",
                show_default=True,
                metavar="HOST:PORT",
                help="Status page; none: no page.",
            ),
            option(
                "--min-free",
                heading=RUNNING,
                type=SIZE,
                default="1G",
                show_default=True,
                help="Disk space to leave free: below it, images are refused and nothing is computed.",
            ),
            option(
                "--keep-days",
                heading=RUNNING,
                type=PERIOD,
                default=7.0,
                show_default=True,
                metavar="DAYS",
                help="What is finished and sent is deleted from --home after so long.",
            ),
        ],
    )


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@_node_options
@output_options
@flags_of("seg_type")[0]
@flags_of("series_number")[0]
@model_options
@access_options
@place_options
def node_command(home: Path, once: bool, page: str, **options: Any) -> int:
    """Segment the studies of an archive as they come, and send the results back.

    Studies come from an Orthanc, or are received by C-STORE. A study is computed once it is complete, and again if
    more of it comes. What is received, computed and sent is on record in --home, and survives a kill.
    """
    from itk_infer.files.temporary import SHARED_MEMORY, temporary_folder
    from itk_infer.run.stop import StopRequest
    from itk_infer.service.pacs.node import Node

    settings = _settings(home, **options)

    def tell(sentence: str) -> None:
        click.echo(with_flags(sentence), err=True)

    with temporary_folder(home, SHARED_MEMORY), StopRequest() as stop, Node(settings, tell) as node:
        if once:
            return _once(node, stop)
        return _serve(node, stop, page)


def _once(node: Any, stop: Any) -> int:
    import threading

    work = threading.Thread(target=node.work_once, name="once", daemon=True)
    work.start()
    while work.is_alive():
        stop.check()
        work.join(0.1)
    if node.problem is not None:
        raise node.problem
    return int(node.exit_code)


def _serve(node: Any, stop: Any, page: str) -> int:
    from contextlib import ExitStack

    from itk_infer.errors import InterruptedRunError
    from itk_infer.service.pacs.status_page import StatusPage

    with ExitStack() as stack:
        if page != "none":
            host, port = _host_and_port(page)
            shown = stack.enter_context(StatusPage(node.settings.home, host, port))
            click.echo(f"Status: {shown.address}", err=True)
        node.start()
        if node.receiver is not None:
            click.echo(f"Listening: {node.settings.listen.aet}, port {node.receiver.port}", err=True)
        try:
            while not node.stopping.wait(0.2):
                stop.check()
        except InterruptedRunError:
            click.echo("Stopping. What is not finished is done by the next start.", err=True)
            return 0
    if node.problem is not None:
        raise node.problem
    return 0


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise click.UsageError(f"--page {text}: give HOST:PORT, such as 127.0.0.1:8043, or none")
    return host.strip("[]"), int(port)


def _settings(home: Path, **options: Any) -> NodeSettings:
    from itk_infer.executors.workers import Workers
    from itk_infer.run.series_rules import read_rules
    from itk_infer.service.pacs.access import dicom_address
    from itk_infer.service.pacs.node_settings import NodeSettings

    access, listen, orthanc = read_access(options), options["listen"], options["orthanc"]
    if (listen is None) == (orthanc is None):
        raise click.UsageError("where do studies come from? Give --orthanc URL, or --listen AET@HOST:PORT")
    send = options["send"]
    if send and options["no_send"]:
        raise click.UsageError("--send and --no-send exclude each other")
    if not send and not options["no_send"]:
        if orthanc is None:
            raise click.UsageError("where do results go? Give --send, or --no-send to leave them in --home")
        send = (f"orthanc={orthanc}",)
    save = outputs_asked_for(options)
    request = model_request(**options).absolute()
    places = placements_of(request, **options)
    rule = options["series_rule"]
    return NodeSettings(
        home=home,
        executors=tuple(partial(Workers, request, (place,), options["case_timeout"]) for place in places),
        orthanc=orthanc,
        listen=None if listen is None else dicom_address(listen),
        allowed=options["allowed"],
        send=send,
        access=access,
        save=save if DICOM & set(save) else (*save, *DEFAULT_DICOM),
        series=() if rule is None else read_rules(rule),
        format=options["file_format"],
        quiet=options["quiet"],
        poll=options["poll"],
        only_new=options["only_new"],
        retry_failed=options["retry_failed"],
        min_free=options["min_free"],
        keep_s=options["keep_days"] * DAY_S,
        patience=options["give_up"] * HOUR_S,
    )
