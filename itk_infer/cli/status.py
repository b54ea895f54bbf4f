"""``itk_infer status``: how far the runs in an output folder are, now or when they ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from itk_infer.cli.options import PATH, GroupedCommand, option
from itk_infer.streams import lost_output

MOST = 20


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("output", type=PATH)
@option("--json", "as_json", heading="Output", is_flag=True, help="One JSON object on stdout, for programs.")
def status_command(output: Path, as_json: bool) -> int:
    """Show what is done, at work, waiting and failed in the folder OUTPUT. Changes nothing.

    Works beside a run, and with the ledgers of shards.
    """
    from itk_infer.batch.status import folder_status

    status = folder_status(output)
    if as_json:
        click.echo(json.dumps(status))
    else:
        click.echo("\n".join(_lines(status)))
    return 1 if lost_output() else 0


def _lines(status: dict[str, Any]) -> list[str]:
    counts = ", ".join(f"{count} {state}" for state, count in status["states"].items() if count)
    lines = [f"{status['cases']} cases: {counts or 'none on record'}"]
    lines += [f"at work: process {owner['pid']} on {owner['host']}" for owner in status["at_work"]]
    last = status["last_run"]
    if not status["at_work"]:
        if last and last["ended"]:
            lines.append(f"last run: ended {last['ended']} with exit code {last['exit_code']}")
        elif last:
            lines.append(f"last run: began {last['started']} and was killed; the same command does the rest")
    for state in ("running", "failed"):
        cases = status[state]
        lines += [f"  {state}: {name}{f': {reason}' if reason else ''}" for name, reason in cases.items()][:MOST]
        if len(cases) > MOST:
            lines.append(f"  ... and {len(cases) - MOST} more; --json shows all")
    return lines
