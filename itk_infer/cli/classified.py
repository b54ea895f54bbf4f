"""The options of the tables of classified images, and what is printed of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click

from itk_infer.cli.options import decorated, option, with_flags
from itk_infer.streams import lost_output
from itk_infer.volume.names import printable

TABLES: Final = "Tables of classified images"


def table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What is summed up, how, and which tables are written besides."""
    options = [
        option(
            "--group-by",
            heading=TABLES,
            type=click.Choice(["study", "series", "patient", "folder"]),
            help="What is summed up together.  [default: study]",
        ),
        option(
            "--study-rule",
            heading=TABLES,
            metavar="RULE",
            help="How: max, mean, top3_mean (any number) or noisy_or.  [default: the model spec's]",
        ),
        option("--kaggle", heading=TABLES, is_flag=True, help="Also kaggle.csv: one row per image and label."),
        option("--xlsx", heading=TABLES, is_flag=True, help="Also results.xlsx."),
    ]
    return decorated(command, options)


def holds_results(folder: Path) -> bool:
    """Whether a folder is one of `itk_infer classify`."""
    return (folder / _database_name()).is_file()


def given_flags(values: dict[str, Any]) -> list[str]:
    """Flags of options that were given."""
    return [f"--{name.replace('_', '-')}" for name, value in values.items() if value]


def report_classified(folder: Path, *, overwrite: bool, others: dict[str, Any], **tables: Any) -> int:
    """Write the tables of a folder again; returns the exit code.

    Raises:
        click.UsageError: an option of other folders was given.
        ConfigError: there are no results, or a run is at work.
    """
    from itk_infer.files.commit import verified_by
    from itk_infer.run.lock import FolderLock

    if given_flags(others):
        raise click.UsageError(f"{given_flags(others)[0]} is for folders of masks; {folder} holds classified images")
    with FolderLock(folder, tell=_tell) as lock, verified_by(lock.verify):
        lines = write_classified(folder, folder / _database_name(), overwrite=overwrite, **tables)
    click.echo("\n".join(lines))
    return 1 if lost_output() else 0


def write_classified(
    folder: Path,
    database: Path,
    *,
    overwrite: bool = False,
    group_by: str | None = None,
    study_rule: str | None = None,
    kaggle: bool = False,
    xlsx: bool = False,
) -> Sequence[str]:
    """Write tables, under a lock that the caller holds; returns the lines of the summary."""
    from itk_infer.classify.tables.summary import summary_lines
    from itk_infer.classify.tables.write import TableSettings, write_tables

    settings = TableSettings(group_by or "study", study_rule, kaggle, xlsx, overwrite)
    summary = write_tables(folder, settings, database=database)
    for note in summary.notes:
        _tell(note)
    return [printable(line) for line in summary_lines(summary)]


def _database_name() -> str:
    from itk_infer.classify.schema import DATABASE_NAME

    return DATABASE_NAME


def _tell(sentence: str) -> None:
    click.echo(printable(with_flags(sentence)), err=True)
