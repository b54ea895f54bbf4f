"""``itk_infer push``: the DICOM results of a folder, to an archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from itk_infer.cli.options import PATH, GroupedCommand, option, with_flags
from itk_infer.cli.pacs import TO_HELP, access_options, read_access
from itk_infer.streams import lost_output

SENDING = "Sending"
HOUR_S = 3600.0


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("output", type=PATH)
@option(
    "--to",
    "targets",
    heading=SENDING,
    multiple=True,
    metavar="KIND=ADDRESS",
    help=f"{TO_HELP} Default: those used before.",
)
@option(
    "--wait",
    heading=SENDING,
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="S",
    help="Try servers that cannot be reached for so long; the next push goes on.",
)
@option(
    "--give-up",
    heading=SENDING,
    type=click.FloatRange(min=0),
    default=24.0,
    show_default=True,
    metavar="HOURS",
    help="An object that cannot be sent for so long, over all pushes, is a dead letter.",
)
@option(
    "--summary",
    heading=SENDING,
    type=PATH,
    help="Note what was sent in this file, which --summary of a run wrote.",
)
@access_options
def push_command(
    output: Path, targets: tuple[str, ...], wait: float, give_up: float, summary: Path | None, **options: Any
) -> int:
    """Send the DICOM results of finished cases in the folder OUTPUT, or of the home of a node.

    What is sent is on record in OUTPUT, and is not sent again. Objects that a server refuses, or that cannot be
    sent for a day, stay where they are and are named; another push tries them again.
    """
    from itk_infer.files.temporary import SHARED_MEMORY, temporary_folder
    from itk_infer.run.stop import StopRequest
    from itk_infer.service.pacs.push import note_pushed, push_folder, read_summary

    if summary is not None:
        read_summary(summary)
    access = read_access(options)

    def tell(sentence: str) -> None:
        click.echo(with_flags(sentence), err=True)

    with temporary_folder(SHARED_MEMORY, output), StopRequest() as stop:
        letters = push_folder(
            output, targets, access, wait=wait, patience=give_up * HOUR_S, tell=tell, check=stop.check
        )
    if summary is not None:
        note_pushed(summary, letters)
    sent = [letter for letter in letters if letter.state == "sent"]
    for letter in letters:
        if letter.state != "sent" or letter.reason:
            tell(f"{letter.state}: {letter.path}, {letter.target}{f': {letter.reason}' if letter.reason else ''}")
    tell(f"{len(sent)} of {len(letters)} objects are at their targets")
    if len(sent) < len(letters):
        tell(f"the others stay in the outbox: itk_infer push {output} tries again")
        return 3 if sent else 4
    return 1 if lost_output() else 0
