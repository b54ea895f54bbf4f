"""``itk_infer postprocess``: rules applied to label maps that exist."""

from __future__ import annotations

from pathlib import Path

import click

from itk_infer.cli.options import PATH, GroupedCommand, option, with_flags
from itk_infer.volume.names import printable


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("masks", type=PATH)
@option("-o", "--output", heading="Output", type=PATH, required=True, help="Output folder; created.")
@option(
    "--postprocess",
    "rules_file",
    heading="Rules",
    type=PATH,
    required=True,
    metavar="RULES.json",
    help="What to do, in order, see the documentation.",
)
@option(
    "--labels",
    "table",
    heading="Rules",
    type=PATH,
    metavar="labels.csv",
    help="Names of the values; default labels.csv beside the masks.",
)
@option("--recursive", heading="Output", is_flag=True, help="Search sub-folders, and keep them in the output.")
@option("--overwrite", heading="Output", is_flag=True, help="Replace files that are there.")
def postprocess_command(
    masks: Path, output: Path, rules_file: Path, table: Path | None, recursive: bool, overwrite: bool
) -> int:
    """Apply post-processing rules to the label maps in MASKS, and write them to another folder under their names.

    The masks themselves are never changed.
    """
    if not masks.exists():
        raise click.UsageError(f"{masks}: no such file or folder")
    from itk_infer.files.temporary import SHARED_MEMORY, temporary_folder
    from itk_infer.model.rules_file import read_rules
    from itk_infer.run.postprocess_masks import postprocess_masks
    from itk_infer.run.stop import StopRequest

    rules = read_rules(rules_file)
    done = failed = kept = 0
    with temporary_folder(SHARED_MEMORY), StopRequest() as stop:
        for mask in postprocess_masks(
            masks, output, rules, table=table, overwrite=overwrite, recursive=recursive, check=stop.check
        ):
            name = printable(mask.name)
            if mask.failure:
                failed += 1
                click.echo(with_flags(f"{name}: failed: {mask.failure}"), err=True)
            elif mask.kept:
                kept += 1
                click.echo(with_flags(f"{name}: kept {mask.kept}"), err=True)
            else:
                done += 1
                changes = [
                    f"rule {e.rule} {e.op}: {e.label.name} {e.before:,} to {e.after:,} voxels"
                    for e in mask.effects
                ]
                click.echo(f"{name}: {'; '.join(changes) or 'nothing changed'}")
    click.echo(f"{done} done, {kept} kept, {failed} failed")
    if failed:
        return 3 if done or kept else 4
    return 0
