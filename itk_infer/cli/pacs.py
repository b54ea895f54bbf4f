"""Options of the commands that connect to archives: accounts, certificates, own application entity title."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from itk_infer.cli.options import PATH, decorated, option

if TYPE_CHECKING:
    from itk_infer.service.pacs.access import Access

ACCESS = "Access"
TO_HELP = "orthanc=URL, stow=URL, dicom=AET@host:port, or dicoms= for TLS. Repeatable."
NAMES = ("password_file", "ca_file", "certificate", "key", "aet", "timeout")


def access_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `read_access`."""
    return decorated(
        command,
        [
            option(
                "--password-file",
                heading=ACCESS,
                type=PATH,
                help="Accounts of HTTP servers, in the format of netrc; default: ITK_INFER_USER and "
                "ITK_INFER_PASSWORD in the environment.",
            ),
            option("--ca-file", heading=ACCESS, type=PATH, help="Trusted certificates (PEM)."),
            option("--certificate", heading=ACCESS, type=PATH, help="Own certificate for DICOM over TLS (PEM)."),
            option("--key", heading=ACCESS, type=PATH, help="Private key of --certificate."),
            option(
                "--aet", heading=ACCESS, default="ITK_INFER", show_default=True, help="Own title when connecting."
            ),
            option(
                "--timeout",
                heading=ACCESS,
                type=click.FloatRange(min=0, min_open=True),
                default=60.0,
                show_default=True,
                metavar="S",
                help="Longest wait for a server's answer.",
            ),
        ],
    )


def read_access(options: dict[str, Any]) -> Access:
    """Takes what `access_options` brought out of the options of a command.

    Raises:
        click.UsageError: `--aet` is not a valid application entity title.
    """
    from itk_infer.service.pacs.access import Access

    access = Access(**{name: options.pop(name) for name in NAMES})
    if not 1 <= len(access.aet.strip()) <= 16 or "\\" in access.aet or not access.aet.isascii():
        raise click.UsageError(f"--aet {access.aet}: a title has 1 to 16 characters")
    return access
