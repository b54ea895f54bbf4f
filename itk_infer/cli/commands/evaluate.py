"""``itk_infer evaluate``: label maps against ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from itk_infer.cli.classified import given_flags, holds_results
from itk_infer.cli.evaluate_classified import evaluate_classified
from itk_infer.cli.options import PATH, GroupedCommand, option
from itk_infer.streams import lost_output
from itk_infer.volume.names import printable

if TYPE_CHECKING:
    from itk_infer.evaluate.label_match import NamedLabel
    from itk_infer.evaluate.pairs import Pairs

MOST_NAMED = 20
METRICS, TABLES, CLASSIFIED, RUNNING = "What is measured", "Output", "Classified images", "Running"


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("masks", type=PATH)
@click.argument("truths", type=PATH)
@option("-o", "--output", heading=TABLES, type=PATH, help="Table to write, .csv: one row per case and label.")
@option("--html", heading=TABLES, is_flag=True, help="Also write a page with plots beside the table.")
@option("--recursive", heading=METRICS, is_flag=True, help="Also search sub-folders.")
@option(
    "--tolerance",
    heading=METRICS,
    multiple=True,
    metavar="MM | NAME=MM",
    help="Tolerance of the NSD; may be repeated, also per label.  [default: 2]",
)
@option(
    "--labels",
    "label_file",
    heading=METRICS,
    type=PATH,
    help="Label table of the masks: a model spec, or a .csv. Default: what lies in or beside the files.",
)
@option("--truth-labels", heading=METRICS, type=PATH, help="Label table of the truths.")
@option("--lesions", heading=METRICS, is_flag=True, help="Also match the components of each label.")
@option("--open-border", heading=METRICS, is_flag=True, help="Do not count the edge of an image as surface.")
@option(
    "--resample",
    heading=METRICS,
    type=click.Choice(["nearest"]),
    help="Take masks on another grid to that of the truth, instead of refusing them.",
)
@option(
    "--specificity",
    heading=CLASSIFIED,
    type=click.FloatRange(0, 1),
    multiple=True,
    help="Report the sensitivity at this specificity; may be repeated.  [default: 0.9, 0.95]",
)
@option(
    "--group-by",
    heading=CLASSIFIED,
    type=click.Choice(["study", "series", "patient", "folder"]),
    help="Combine the pictures of each of these into one row.  [default: study]",
)
@option("--study-rule", heading=CLASSIFIED, metavar="RULE", help="Combine how.  [default: the model spec's]")
@option("--workers", heading=RUNNING, type=click.IntRange(min=1), help="Processes.  [default: one per core]")
def evaluate_command(
    masks: Path,
    truths: Path,
    output: Path | None,
    html: bool,
    recursive: bool,
    tolerance: tuple[str, ...],
    label_file: Path | None,
    truth_labels: Path | None,
    lesions: bool,
    open_border: bool,
    resample: str | None,
    workers: int | None,
    **classified: Any,
) -> int:
    """Compare the label maps in MASKS with those in TRUTHS: overlap, distances, volumes.

    Or the classified images of MASKS, an output folder of itk_infer classify, with the table TRUTHS, a .csv with a
    row per image or study: ROC and precision-recall curves, calibration.

    Files are paired by their names, labels by their names, then by their values. A table of the results of
    finished cases lies beside the output; the same command does what is missing.
    """
    if html and output is None:
        raise click.UsageError("--html writes a page beside the table; give the table with -o")
    if output is not None and output.suffix.lower() != ".csv":
        raise click.UsageError(f"-o {output}: the table is a .csv file; end its name so")
    if holds_results(masks):
        others = {"recursive": recursive, "tolerance": tolerance, "labels": label_file, "lesions": lesions}
        others |= {"truth_labels": truth_labels, "open_border": open_border, "resample": resample}
        if given_flags(others):
            raise click.UsageError(f"{given_flags(others)[0]} is for masks; {masks} holds classified images")
        return evaluate_classified(masks, truths, output=output, html=html, **classified)
    if given_flags(classified):
        raise click.UsageError(f"{given_flags(classified)[0]} is for output folders of itk_infer classify")
    from contextlib import closing

    from itk_infer.evaluate.case import CaseTask
    from itk_infer.evaluate.folder import evaluate_all
    from itk_infer.evaluate.label_tables import read_table, table_beside
    from itk_infer.evaluate.metrics import MetricSettings
    from itk_infer.evaluate.page import page_html
    from itk_infer.evaluate.pairs import find_pairs
    from itk_infer.evaluate.scores import DEFINITION, OPEN_BORDER
    from itk_infer.evaluate.store import ENDING, ScoreStore
    from itk_infer.evaluate.summary import summarise
    from itk_infer.evaluate.tables import cases_csv, summary_csv, summary_text, write_table
    from itk_infer.files.folders import make_folder
    from itk_infer.machine import usable_cores

    _need_scipy()
    general, per_label = read_tolerances(tolerance)
    settings = MetricSettings(2.0 if general is None else general, per_label, lesions, open_border)
    pairs = find_pairs(masks, truths, recursive=recursive)
    mask_table = read_table(label_file) if label_file else _recorded_table(masks) or table_beside(masks)
    truth_table = read_table(truth_labels) if truth_labels else table_beside(truths)
    _check_names(per_label, mask_table, truth_table)
    for sentence in leftovers(pairs):
        _tell(sentence)
    tables = tuple(mask_table.values()), tuple(truth_table.values())
    tasks = [CaseTask(pair, *tables, settings, resample is not None) for pair in pairs.pairs]
    if output is not None:
        make_folder(output.parent)
    with closing(ScoreStore(output and output.with_name(output.stem + ENDING))) as store:
        result = evaluate_all(tasks, store, workers or usable_cores(), _progress)
    definition = OPEN_BORDER if open_border else DEFINITION
    summaries = summarise(result.cases)
    if output is not None and result.cases:
        write_table(output, cases_csv(result.cases, definition))
        write_table(output.with_name(f"{output.stem}_summary.csv"), summary_csv(summaries, definition))
        if html:
            page = page_html(result.cases, summaries, result.failed, leftovers(pairs), definition)
            write_table(output.with_suffix(".html"), page)
    click.echo("\n".join(printable(line) for line in summary_text(summaries, definition)))
    for case in result.cases:
        for note in case.notes:
            _tell(f"{case.name}: {note}")
    for name, reason in result.failed.items():
        _tell(f"failed: {name}: {reason}")
    if any("another grid" in reason for reason in result.failed.values()):
        _tell("--resample nearest compares masks on other grids all the same")
    known = f", {result.reused} of them stored before" if result.reused else ""
    _tell(f"{len(result.cases)} cases compared{known}, {len(result.failed)} failed")
    if output is not None and result.cases:
        _tell(f"results: {output}")
    if not result.failed:
        return 1 if lost_output() else 0
    return 3 if result.cases else 4


def read_tolerances(texts: tuple[str, ...]) -> tuple[float | None, tuple[tuple[str, float], ...]]:
    """The general tolerance, and those by label name, of ``--tolerance 2 --tolerance liver=3``.

    Raises:
        click.UsageError: a text is no number of millimetres of 0 or more.
    """
    general, named = None, {}
    for text in texts:
        name, equals, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not 0 <= value < float("inf"):
            raise click.UsageError(f"--tolerance {text}: give millimetres, such as 2, or a label's: liver=3")
        if equals:
            named[name.strip()] = value
        else:
            general = value
    return general, tuple(named.items())


def leftovers(pairs: Pairs) -> list[str]:
    """Sentences about the files that are not compared."""
    sentences = list(pairs.ambiguous)
    for names, what in ((pairs.truths_left, "truths have no mask"), (pairs.masks_left, "masks have no truth")):
        if names:
            more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
            listed = ", ".join(names[:MOST_NAMED]) + more
            sentences.append(f"{len(names)} {what} and are in no mean: {listed}")
    return sentences


def _recorded_table(masks: Path) -> dict[int, NamedLabel]:
    """The label table of the latest run in an output folder, with its tolerances; empty if it is none."""
    from contextlib import closing

    from itk_infer.evaluate.label_tables import from_labels
    from itk_infer.run.ledger import NAME, Ledger
    from itk_infer.spec import Label

    if not (masks / NAME).is_file():
        return {}
    with closing(Ledger(masks, read_only=True)) as ledger:
        return from_labels(Label(**label) for label in ledger.last_model().get("labels", ()))


def _check_names(named: tuple[tuple[str, float], ...], *tables: dict[int, NamedLabel]) -> None:
    known = sorted({label.name for table in tables for label in table.values()})
    unknown = [name for name, _ in named if known and name not in known]
    if unknown:
        raise click.UsageError(
            f"--tolerance {unknown[0]}=...: no label of that name; there are {', '.join(known)}"
        )


def _need_scipy() -> None:
    from importlib.util import find_spec

    from itk_infer.errors import ConfigError

    if find_spec("scipy") is None:
        raise ConfigError('surface distances need scipy: pip install "itk_infer[evaluate]"')


def _progress(name: str, done: int, every: int) -> None:
    _tell(f"[{done}/{every}] {name}")


def _tell(sentence: str) -> None:
    click.echo(printable(sentence), err=True)
