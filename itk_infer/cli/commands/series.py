"""``itk_infer series``: the DICOM series below a folder, and what would become of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from itk_infer.cli.options import PATH, GroupedCommand, option
from itk_infer.streams import lost_output
from itk_infer.volume.names import printable

if TYPE_CHECKING:
    from itk_infer.run.series_table import SeriesRow

MOST_NAMED = 5


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", type=PATH)
@option("--series", "rule", heading="Choice", type=PATH, help="Rule (JSON) that picks the series of a study.")
@option("--json", "as_json", heading="Output", is_flag=True, help="One JSON object on stdout, for programs.")
def series_command(folder: Path, rule: Path | None, as_json: bool) -> int:
    """List the DICOM series below FOLDER: which would be segmented, which not, and why.

    Exit code 0: at least one can be segmented. 6: none can.
    """
    if not folder.exists():
        raise click.UsageError(f"{folder}: no such file or folder")
    from itk_infer.run.series_rules import read_rules
    from itk_infer.run.series_table import series_table

    table = series_table(folder, () if rule is None else read_rules(rule))
    if as_json:
        click.echo(json.dumps({"series": [row.to_dict() for row in table.rows], "passed_over": table.other_files}))
    else:
        click.echo("\n".join(_lines(table.rows)))
        if table.others:
            names = ", ".join(table.others[:MOST_NAMED])
            more = " and more" if table.other_files > len(table.others[:MOST_NAMED]) else ""
            click.echo(
                f"passed over {table.other_files} files without a readable DICOM image: {names}{more}", err=True
            )
    if lost_output():
        return 1
    return 0 if any(row.state in ("chosen", "candidate") for row in table.rows) else 6


def _lines(rows: Sequence[SeriesRow]) -> list[str]:
    """The table, and below each series the words of its verdict."""
    titles = ("study", "series", "modality", "plane", "grid", "mm", "state", "description", "folder")
    cells = [
        (
            str(row.study),
            row.series or "-",
            row.modality or "-",
            row.plane or "-",
            " x ".join(map(str, row.size)) or f"{row.files} file{'s' if row.files > 1 else ''}",
            "-" if row.spacing is None else f"{row.spacing:.3g}",
            row.state,
            row.description or "-",
            row.folder,
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in (titles, *cells)) for column in range(len(titles))]
    listed = [
        "  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip()
        for line in (titles, *cells)
    ]
    verdicts = [f"       {row.verdict}" if row.state != "chosen" else "" for row in rows]
    lines = [listed[0], *(line for pair in zip(listed[1:], verdicts, strict=True) for line in pair if line)]
    return [printable(line) for line in lines]
