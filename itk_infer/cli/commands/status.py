"""``itk_infer status``: how far the runs in an output folder are, now or when they ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from itk_infer.cli.options import PATH, GroupedCommand, option, with_flags
from itk_infer.streams import lost_output
from itk_infer.volume.names import printable

MOST = 20


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("output", type=PATH)
@option("--json", "as_json", heading="Output", is_flag=True, help="One JSON object on stdout, for programs.")
def status_command(output: Path, as_json: bool) -> int:
    """Show what is done, at work, waiting and failed in the folder OUTPUT, or the home of a node. Changes nothing.

    Also names masks that are gone, were made otherwise than the latest run would, or whose image is gone.
    Works beside a run, and with the ledgers of shards.
    """
    from itk_infer.run.status import folder_status
    from itk_infer.service.pacs.status import is_home, node_status, status_lines

    if is_home(output):
        node = node_status(output)
        click.echo(json.dumps(node) if as_json else with_flags("\n".join(status_lines(node))))
        return 1 if lost_output() else 0
    status = folder_status(output)
    for group in ("failed", "skipped", "masks"):
        status[group] = {name: with_flags(reason) for name, reason in status[group].items()}
    if as_json:
        click.echo(json.dumps(status))
    else:
        click.echo("\n".join(printable(line) for line in _lines(status)))
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
    gone = {name: f"its image is no longer at {path}" for name, path in status["image_gone"].items()}
    failed = {name: "; ".join(filter(None, (why, gone.get(name)))) for name, why in status["failed"].items()}
    listed = {
        "running": status["running"],
        "failed": failed,
        "skipped": status["skipped"],
        "mask": status["masks"],
    }
    for title, cases in listed.items():
        lines += [f"  {title}: {name}{f': {reason}' if reason else ''}" for name, reason in cases.items()][:MOST]
        if len(cases) > MOST:
            lines.append(f"  ... and {len(cases) - MOST} more; --json shows all")
    if len(status["label_tables"]) > 1:
        lines.append("The masks disagree about what a value means; each label table is that of these masks:")
        lines += [f"  {name}: {_listed(masks)}" for name, masks in status["label_tables"].items()]
    return lines


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more
