"""``itk_infer classify``: a folder of pictures in, a database of probabilities out."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from itk_infer.cli.classified import finish_classified, read_saliency, saliency_options, table_options
from itk_infer.cli.executors import cluster_options, local_options, make_executor, timeout_option, wants_executor
from itk_infer.cli.model_files import file_options, named_model
from itk_infer.cli.options import PATH, GroupedCommand, decorated, flags_of, option, read_options

if TYPE_CHECKING:
    from itk_infer.classifier import Classifier
    from itk_infer.classify.settings import ClassifySettings
    from itk_infer.options import BatchChoice

FILES, RUNNING = "Input and output", "Running"
OF_MODELS = ("spec", "device", "provider", "precision", "weights", "max_vram", "threads")


def _model_options(command: Any) -> Any:
    return decorated(command, [*file_options(), *(flag for name in OF_MODELS for flag in flags_of(name))])


def _worker_options(command: Any) -> Any:
    limit = timeout_option("Fail a file that takes longer than S seconds; a worker process computes it.")
    return decorated(command, [*local_options("none but this process"), limit, *cluster_options()])


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@option(
    "-i", "--input-folder", heading=FILES, type=PATH, required=True, help="Folder, searched with all below it."
)
@option("-o", "--output", heading=FILES, type=PATH, help="Folder of the results; created.")
@option("--db", "database", heading=FILES, type=PATH, help="Other place of the database; default OUT/results.db.")
@_model_options
@option(
    "--threshold",
    heading="What is written",
    type=click.FloatRange(0, 1),
    help="Positive from this probability on, for every label; default the model's own.",
)
@option("--save-members", heading="What is written", is_flag=True, help="Also each member of an ensemble.")
@table_options
@saliency_options
@option("--overwrite", heading=RUNNING, is_flag=True, help="Compute everything again.")
@option("--resume", heading=RUNNING, is_flag=True, help="Compute only what is missing; always on.")
@option("--forget-missing", heading=RUNNING, is_flag=True, help="Drop results of files that are no longer there.")
@option(
    "--batch-size",
    heading=RUNNING,
    metavar="[auto|N]",
    help="Pictures per call; default 12 on a CPU, 4 large ones. auto, the default on GPUs: found, and remembered.",
)
@option(
    "--batch-cache",
    heading=RUNNING,
    type=PATH,
    metavar="FOLDER",
    help="Where --batch-size auto remembers; default the user's cache folder.",
)
@option("--no-batch-cache", heading=RUNNING, is_flag=True, help="Search again, remember nothing.")
@_worker_options
@option("--dry-run", heading=RUNNING, is_flag=True, help="Print how many files would be read, and write nothing.")
@option(
    "--progress",
    heading=RUNNING,
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "bar", "json", "none"]),
    help="json: one object per line on stdout.",
)
@option("--quiet", heading=RUNNING, is_flag=True, help="Only warnings, failures and the end.")
@option("--verbose", heading=RUNNING, is_flag=True, help="Also every file that fails or is skipped.")
def classify_command(
    input_folder: Path,
    output: Path | None,
    database: Path | None,
    threshold: float | None,
    save_members: bool,
    overwrite: bool,
    resume: bool,
    forget_missing: bool,
    batch_size: str | None,
    dry_run: bool,
    progress: str,
    quiet: bool,
    verbose: bool,
    group_by: str | None,
    study_rule: str | None,
    kaggle: bool,
    xlsx: bool,
    saliency: tuple[str, ...],
    saliency_for: str | None,
    saliency_label: str | None,
    saliency_layer: str | None,
    **model: Any,
) -> int:
    """Classify all pictures below a folder: DICOM frames, PNG, JPEG, TIFF and npy files, slices of volumes.

    Probabilities, and a reason for every file that has none, go to results.db, and from there to tables. A second
    run reads what is new.
    """
    if output is None and database is None:
        raise click.UsageError("no place for the results: give -o OUT")
    if overwrite and resume:
        raise click.UsageError("--overwrite and --resume exclude each other")
    if quiet and verbose:
        raise click.UsageError("--quiet and --verbose exclude each other")
    if not input_folder.exists():
        raise click.UsageError(f"-i {input_folder}: no such file or folder")
    paths, kind = named_model(model)
    options = read_options(model)
    batch = _batch(batch_size)
    if isinstance(batch, int) and options.batch_cache is not True:
        flag = "--batch-cache" if options.batch_cache else "--no-batch-cache"
        raise click.UsageError(f"{flag} is for --batch-size auto; leave one of them out")
    explained = read_saliency(saliency, **{"for": saliency_for, "label": saliency_label, "layer": saliency_layer})
    if study_rule is not None:
        from itk_infer.classify.tables.study_rule import study_rule as rule_named

        rule_named(study_rule)
    from itk_infer.classify.settings import ClassifySettings

    folder = output if output is not None else Path(str(database)).parent
    settings = ClassifySettings(
        input_folder,
        folder,
        database,
        threshold,
        batch,
        options.threads,
        overwrite,
        save_members,
        forget_missing,
        options.batch_cache,
    )
    for path in (settings.output, settings.database_path.parent):
        if path.exists() and not path.is_dir():
            raise click.UsageError(f"{path}: is a file; the results need a folder")
    from itk_infer.classify.part import ClassifierRequest

    request = ClassifierRequest(paths, kind, options, input_folder, settings.batch)

    @cache
    def load() -> Classifier:
        classifier = request.load(threads=settings.own_threads)
        if explained is not None:
            from itk_infer.classify.saliency.explain import ModelExplainer
            from itk_infer.classify.saliency.settings import check_label

            check_label(explained.label, [label.name for label in classifier.model.labels])
            ModelExplainer(classifier, explained.methods, layer=explained.layer).try_out()
        return classifier

    executor = None
    if wants_executor(model):
        from itk_infer.classify.part_runner import open_parts

        executor = make_executor(request, settings.output, open_parts, **model)
    if dry_run:
        return _dry_run(load, settings)
    from itk_infer.classify.run import classify_folder
    from itk_infer.cli.classify_progress import make_classify_listener, print_classified
    from itk_infer.events import Events

    if executor is not None and explained is not None:
        # What cannot be explained is refused before hours of work. Workers settle the precision of their networks.
        for network in load().model.networks:
            network.in_precision("fp32")
    events = Events()
    listener = make_classify_listener(progress, events.run, quiet=quiet, verbose=verbose)
    summary = classify_folder(load, settings, Events([listener], events.run), executor=executor)
    print_classified(summary, settings)
    if summary.exit_code > 128 or summary.problem:
        return summary.exit_code
    tables = {"group_by": group_by, "study_rule": study_rule, "kaggle": kaggle, "xlsx": xlsx}
    return finish_classified(load, settings, explained, **tables) or summary.exit_code


def _dry_run(load: Any, settings: ClassifySettings) -> int:
    from contextlib import closing

    from itk_infer.classify.database import ResultsDatabase
    from itk_infer.classify.model_facts import facts_of
    from itk_infer.classify.plan import make_plan
    from itk_infer.streams import lost_output

    classifier = load()
    model = classifier.model
    model.wait()  # a network that no library can run is refused
    with closing(ResultsDatabase(settings.database_path, read_only=True)) as database:
        plan = make_plan(database, settings, database.model_id(facts_of(classifier)), write=False)
    click.echo(
        f"{plan.files:,} files: {plan.waiting:,} to read, {plan.up_to_date:,} already done, "
        f"{len(plan.missing_ids):,} on record and no longer there. Model {model.name}: "
        f"{', '.join(label.name for label in model.labels)}. Nothing was written."
    )
    return 1 if lost_output() else 0


def _batch(text: str | None) -> BatchChoice | None:
    """The value of ``--batch-size``.

    Raises:
        click.UsageError: it is neither a number nor ``auto``.
    """
    if text is None:
        return None
    from itk_infer.option_values import parse_batch

    try:
        batch: BatchChoice = parse_batch(text)
    except ValueError as error:
        raise click.UsageError(f"--batch-size {text}: {error}") from None
    return batch
