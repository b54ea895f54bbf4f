"""``itk_infer report``: the tables of an output folder, made again from its ledger."""

from __future__ import annotations

from pathlib import Path

import click

from itk_infer.cli.options import PATH, GroupedCommand, option


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("output", type=PATH)
@option("--overwrite", heading="Output", is_flag=True, help="Replace tables that somebody else changed.")
def report_command(output: Path, overwrite: bool) -> int:
    """Write confidences.xlsx and labels.csv of the folder OUTPUT again, from its ledger."""
    from itk_infer.batch.derived import write_derived
    from itk_infer.batch.ledger import NAME, Ledger
    from itk_infer.batch.lock import FolderLock

    if not (output / NAME).is_file():
        raise click.UsageError(f"{output}: holds no {NAME}; give the output folder of a run")
    with FolderLock(output):
        ledger = Ledger(output)
        try:
            kept = write_derived(output, ledger, workbook=True, overwrite=overwrite)
            states = [record.state for record in ledger.cases().values()]
        finally:
            ledger.close()
    for sentence in kept:
        click.echo(sentence, err=True)
    counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    click.echo(f"{len(states)} cases on record: {counts or 'none'}")
    return 0
