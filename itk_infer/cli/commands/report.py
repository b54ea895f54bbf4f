"""``itk_infer report``: the tables of an output folder, made again from its ledgers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from itk_infer.cli.calibration import calibration_option, read_calibration
from itk_infer.cli.classified import given_flags, holds_results, report_classified, table_options
from itk_infer.cli.options import PATH, GroupedCommand, option, with_flags
from itk_infer.volume.names import printable


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("output", type=PATH)
@option("--overwrite", heading="Output", is_flag=True, help="Replace tables that were changed by hand.")
@calibration_option("Output")
@option(
    "--forget-missing",
    heading="Output",
    is_flag=True,
    help="First drop the rows of cases whose image or mask is gone. Deletes no mask.",
)
@option("--html", "html", heading="Output", is_flag=True, help="Also report.html, report.csv and report.json.")
@option(
    "--decisions",
    heading="Input",
    type=PATH,
    metavar="FILE.csv",
    help="First record the decisions that the page of report.html exported.",
)
@table_options
def report_command(
    output: Path,
    overwrite: bool,
    forget_missing: bool,
    html: bool,
    decisions: Path | None,
    calibration: Path | None,
    **tables: Any,
) -> int:
    """Write the tables of the folder OUTPUT again.

    Of masks: confidences.xlsx and labels.csv, from its ledger and the masks. Of classified images: see below, from
    its results.db.

    Ledgers that shards have left there become part of it first. A decision counts for the mask that was looked
    at: when the mask changes, it no longer does.
    """
    others = {"forget_missing": forget_missing, "html": html, "decisions": decisions, "calibration": calibration}
    if holds_results(output):
        return report_classified(output, overwrite=overwrite, others=others, **tables)
    if given_flags(tables):
        raise click.UsageError(f"{given_flags(tables)[0]} is for output folders of itk_infer classify")
    from contextlib import closing

    from itk_infer.files.commit import verified_by
    from itk_infer.files.temporary import SHARED_MEMORY, temporary_folder
    from itk_infer.outputs.output_kind import PICTURE
    from itk_infer.outputs.registry import REPORT, run_outputs
    from itk_infer.run import forget
    from itk_infer.run.decisions import record_decisions
    from itk_infer.run.ledger import NAME, Ledger
    from itk_infer.run.lock import FolderLock
    from itk_infer.run.shard import shard_ledgers
    from itk_infer.run.tables import write_derived

    if not (output / NAME).is_file() and not shard_ledgers(output):
        raise click.UsageError(f"{output}: holds no {NAME}; give the output folder of a run")
    judge = read_calibration(calibration)
    sentences = []
    with (
        temporary_folder(output, SHARED_MEMORY),
        FolderLock(output, tell=_tell) as lock,
        closing(Ledger(output, verify=lock.verify)) as ledger,
    ):
        for path in shard_ledgers(output):
            with closing(Ledger(output, name=path.name)) as shard:
                ledger.adopt(shard)
            path.unlink()
        if forget_missing:
            sentences += forget.forget_missing(output, ledger)
        if decisions is not None:
            sentences.append(record_decisions(output, ledger, decisions))
        # A montage and tables of pictures are made anew where there are some.
        kinds = [kind for kind in run_outputs() if kind.name != "montage" and PICTURE not in kind.needs]
        asked = [kind.name for kind in kinds if html or kind.name != REPORT]
        with verified_by(lock.verify):
            sentences += write_derived(
                output, ledger, asked=asked, overwrite=overwrite, renew=True, calibration=judge
            )
        states = [record.state for record in ledger.cases().values()]
    for sentence in sentences:
        _tell(sentence)
    counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    click.echo(f"{len(states)} cases on record: {counts or 'none'}")
    return 0


def _tell(sentence: str) -> None:
    click.echo(printable(with_flags(sentence)), err=True)
