"""``itk_infer view``: masks over their images in a browser, and decisions about them."""

from __future__ import annotations

from pathlib import Path

import click

from itk_infer.cli.options import PATH, GroupedCommand, option


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("output", type=PATH)
@option("--port", heading="Page", type=click.IntRange(0, 65535), default=0, help="0: any that is free.")
@option("--no-browser", heading="Page", is_flag=True, help="Print the address, and open no browser.")
def view_command(output: Path, port: int, no_browser: bool) -> int:
    """Show the masks of the folder OUTPUT over their images, the doubtful ones first, and record decisions.

    The page is served to this machine only, and loads nothing from elsewhere. Ctrl-C ends it.
    """
    import contextlib
    import webbrowser

    from itk_infer.files.temporary import SHARED_MEMORY, temporary_folder
    from itk_infer.viewer.server import ViewerServer
    from itk_infer.viewer.session import Session

    with temporary_folder(output, SHARED_MEMORY), ViewerServer(Session(output), port) as server:
        click.echo(server.address)
        click.echo("Ctrl-C ends it.", err=True)
        if not no_browser:
            webbrowser.open(server.address)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
    return 0
