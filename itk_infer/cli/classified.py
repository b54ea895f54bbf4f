"""The options of the tables of classified images, and their summary on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from itk_infer.cli.options import decorated, option, with_flags
from itk_infer.streams import lost_output
from itk_infer.volume.names import printable

if TYPE_CHECKING:
    from itk_infer.classifier import Classifier
    from itk_infer.classify.saliency.settings import SaliencySettings
    from itk_infer.classify.settings import ClassifySettings

TABLES: Final = "Tables of classified images"
SALIENCY: Final = "Saliency"


def table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How pictures are combined into studies, and which further tables are written."""
    options = [
        option(
            "--group-by",
            heading=TABLES,
            type=click.Choice(["study", "series", "patient", "folder"]),
            help="Combine the pictures of each of these into one row.  [default: study]",
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


def saliency_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which images are explained, and how."""
    options = [
        option(
            "--saliency",
            heading=SALIENCY,
            multiple=True,
            type=click.Choice(["input_grad", "gradcam", "gradcampp", "occlusion"]),
            help="Draw which pixels the output depends on; may be repeated.",
        ),
        option(
            "--saliency-for",
            heading=SALIENCY,
            metavar="positives|all|N",
            help="For which images; N: of each study, those with the most probable labels.  [default: positives]",
        ),
        option(
            "--saliency-label", heading=SALIENCY, metavar="NAME", help="Explain this label, whatever is positive."
        ),
        option("--saliency-layer", heading=SALIENCY, metavar="NAME", help="The tensor that Grad-CAM explains."),
    ]
    return decorated(command, options)


def read_saliency(methods: Sequence[str], **values: str | None) -> SaliencySettings | None:
    """What the options of saliency ask for, by the ends of their names; None: nothing.

    Raises:
        click.UsageError: one of them has no effect without `--saliency`.
        ConfigError: a value is out of range.
    """
    if not methods:
        given = [name for name, value in values.items() if value]
        if given:
            raise click.UsageError(f"--saliency-{given[0]} needs --saliency METHOD")
        return None
    from itk_infer.classify.saliency.settings import SaliencySettings

    wanted = values["for"] or "positives"
    return SaliencySettings(tuple(dict.fromkeys(methods)), wanted, values["label"], values["layer"])


def finish_classified(
    load: Callable[[], Classifier], settings: ClassifySettings, saliency: SaliencySettings | None, **tables: Any
) -> int:
    """Write the tables and the saliency of a finished run; returns 3 if images could not be explained, else 0.

    The model is loaded for saliency only.

    Raises:
        ModelError: a method cannot explain a network.
        OutputError: a file cannot be written.
        InterruptedRunError: a signal arrived.
    """
    from itk_infer.files.commit import verified_by
    from itk_infer.run.lock import FolderLock
    from itk_infer.run.stop import StopRequest

    database = settings.database_path
    with (
        StopRequest() as stop,
        FolderLock(database.parent, tell=_tell, check=stop.check) as lock,
        verified_by(lock.verify),
    ):
        lines = write_classified(settings.output, database, overwrite=settings.overwrite, speed=False, **tables)
        click.echo("\n".join(lines), err=True)  # stdout may hold events
        if saliency is None:
            return 0
        from itk_infer.classify.saliency.folder import FOLDER, write_saliency

        made = write_saliency(
            load(),
            database,
            settings.root,
            settings.output,
            saliency,
            threads=settings.own_threads,
            check=stop.check,
        )
    for name, reason in made.failed.items():
        _tell(f"{name}: not explained, {reason}")
    _tell(f"{len(made.panels):,} panels: {settings.output / FOLDER}")
    return 3 if made.failed else 0


def holds_results(folder: Path) -> bool:
    """Whether a folder is an output folder of `itk_infer classify`."""
    return (folder / _database_name()).is_file()


def given_flags(values: dict[str, Any]) -> list[str]:
    """Flags of the options that were given."""
    return [f"--{name.replace('_', '-')}" for name, value in values.items() if value]


def report_classified(folder: Path, *, overwrite: bool, others: dict[str, Any], **tables: Any) -> int:
    """Write the tables of a folder again; returns the exit code.

    Raises:
        click.UsageError: an option for another kind of folder was given.
        ConfigError: there are no results, or another run uses the folder.
    """
    from itk_infer.files.commit import verified_by
    from itk_infer.run.lock import FolderLock

    if given_flags(others):
        raise click.UsageError(
            f"{given_flags(others)[0]} is for folders of masks; {folder} holds classified images"
        )
    with FolderLock(folder, tell=_tell) as lock, verified_by(lock.verify):
        lines = write_classified(folder, folder / _database_name(), overwrite=overwrite, **tables)
    click.echo("\n".join(lines))
    return 1 if lost_output() else 0


def write_classified(
    folder: Path,
    database: Path,
    *,
    overwrite: bool = False,
    speed: bool = True,
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
    return [printable(line) for line in summary_lines(summary, speed=speed)]


def _database_name() -> str:
    from itk_infer.classify.schema import DATABASE_NAME

    return DATABASE_NAME


def _tell(sentence: str) -> None:
    click.echo(printable(with_flags(sentence)), err=True)
