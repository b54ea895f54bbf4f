"""``itk_infer thresholds``: the probability from which on a voxel should have a label."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from itk_infer.cli.model import load_predictor, model_options
from itk_infer.cli.options import PATH, GroupedCommand, option, with_flags
from itk_infer.streams import lost_output
from itk_infer.volume.names import printable

if TYPE_CHECKING:
    from itk_infer.case.case import Case
    from itk_infer.evaluate.label_match import NamedLabel
    from itk_infer.evaluate.thresholds import LabelCurves
    from itk_infer.predictor import Predictor
    from itk_infer.spec import OutputSpec

FILES = "Input and output"


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@option("-i", "--input-folder", heading=FILES, type=PATH, required=True, help="Folder of images, or one image.")
@option("-t", "--truths", heading=FILES, type=PATH, help="Folder of their label maps. Without: Otsu's thresholds.")
@option("-o", "--output", heading=FILES, type=PATH, help="Spec to write, .json, with the threshold, for --spec.")
@option(
    "--per-label",
    heading=FILES,
    is_flag=True,
    help="With -o: a threshold for each label instead of one for all. Always so for argmax models.",
)
@option("--recursive", heading=FILES, is_flag=True, help="Also search sub-folders.")
@option("--truth-labels", heading=FILES, type=PATH, help="Label table of the truths: a model spec, or a .csv.")
@model_options
def thresholds_command(
    input_folder: Path,
    truths: Path | None,
    output: Path | None,
    per_label: bool,
    recursive: bool,
    truth_labels: Path | None,
    **options: Any,
) -> int:
    """Run a model over images, and find the threshold with the best Dice for each label.

    1,000 thresholds are compared in one pass. Use cases that the model was not trained with, and report results of
    others.
    """
    from itk_infer.errors import CaseError
    from itk_infer.evaluate.label_tables import read_table, table_beside
    from itk_infer.run.cases import find_cases

    if not input_folder.exists():
        raise click.UsageError(f"-i {input_folder}: no such file or folder")
    predictor = load_predictor(**options)
    for note in predictor.notes:
        _tell(with_flags(note))
    meaning = predictor.spec.output
    table = () if truths is None else (read_table(truth_labels) if truth_labels else table_beside(truths)).values()
    inputs = find_cases(input_folder, None, recursive=recursive, wanted=predictor.spec.input)
    cases = _with_truths(inputs.cases, truths, recursive)
    curves: dict[int, LabelCurves] = {}
    failed = 0
    for number, (case, truth) in enumerate(cases, 1):
        try:
            _count_case(predictor, case, truth, tuple(table), curves)
            _tell(f"[{number}/{len(cases)}] {case.name}")
        except CaseError as error:
            failed += 1
            _tell(f"failed: {case.name}: {error}")
    if failed == len(cases):
        return 4
    found = list(curves.values())
    each, together = _show(found, meaning if truths is not None else None)
    if meaning.decision == "argmax" and output is None:
        _tell("this model takes the most probable label: -o writes a spec by which each label has its threshold")
    per_label = per_label or meaning.decision == "argmax"
    if output is not None:
        _write(output, each if per_label else together)
    if failed:
        return 3
    return 1 if lost_output() else 0


def _with_truths(cases: tuple[Case, ...], truths: Path | None, recursive: bool) -> list[tuple[Case, Path | None]]:
    """Cases and their label maps, by the rules of `evaluate`; those without one are named."""
    from itk_infer.errors import ConfigError, NoInputError
    from itk_infer.evaluate.pairs import RULES, label_files, match_names

    if truths is None:
        return [(case, None) for case in cases]
    if not truths.exists():
        raise ConfigError(f"-t {truths}: no such file or folder")
    if truths.is_file():
        if len(cases) > 1:
            raise ConfigError(f"-t {truths}: is one file, and there are {len(cases)} images; give a folder")
        return [(cases[0], truths)]
    files = label_files(truths, recursive)
    stems = {(case.folder / case.stem).as_posix(): case for case in cases}
    matched, notes = match_names(stems, files)
    for note in notes:
        _tell(note)
    without = [case.name for stem, case in stems.items() if stem not in matched]
    if without:
        _tell(f"{len(without)} images have no truth and do not count: {', '.join(without[:20])}")
    if not matched:
        raise NoInputError(f"No image in the input has a label map in {truths}: {RULES}")
    return [(stems[stem], files[name][0]) for stem, name in matched.items()]


def _count_case(
    predictor: Predictor,
    case: Case,
    truth: Path | None,
    table: tuple[NamedLabel, ...],
    curves: dict[int, LabelCurves],
) -> None:
    """Run one case and add what was counted to the curves."""
    import numpy as np

    from itk_infer.errors import InputError
    from itk_infer.evaluate.case import aligned
    from itk_infer.evaluate.label_map import read_labels
    from itk_infer.evaluate.label_match import match_labels
    from itk_infer.evaluate.label_tables import from_labels, table_inside
    from itk_infer.evaluate.threshold_sink import ThresholdSink, TruthOnSlabs
    from itk_infer.evaluate.thresholds import LabelCurves
    from itk_infer.executors.reading import read_case
    from itk_infer.outputs.sink import OutputHeader

    if case.problem is not None:
        raise InputError(case.problem)
    volume = read_case(case, predictor.memory_bound).volume
    known = None if truth is None else read_labels(truth)
    sinks: list[ThresholdSink] = []
    names: dict[int, str] = {}

    def make_sinks(header: OutputHeader) -> list[ThresholdSink]:
        names.update({label.value: label.name for label in header.labels})
        on_slabs = None
        if known is not None and truth is not None:
            array, notes = aligned(case.name, ("the truth", known), ("the image", header.grid))
            theirs = table_inside(truth) or {label.value: label for label in table}
            values = [int(value) for value in np.unique(array) if value]
            pairs, left = match_labels(from_labels(header.labels), theirs, [], values)
            for note in (*notes, *left):
                _tell(f"{case.name}: {note}")
            turned = np.asarray(header.reorientation.inverse.apply(array))
            on_slabs = TruthOnSlabs(turned, {pair.mask: pair.truth for pair in pairs})
        sinks[:] = [ThresholdSink(header, predictor.spec.output, on_slabs)]
        return sinks

    for warning in predictor.run(volume, make_sinks).warnings:
        _tell(f"{case.name}: {warning}")
    for value, histogram in sinks[0].histograms.items():
        curves.setdefault(value, LabelCurves(names[value])).add(case.name, histogram)


def _show(curves: list[LabelCurves], output: OutputSpec | None) -> tuple[dict[str, float], float | None]:
    """Print the thresholds; return that of each label, and that for all labels together, or None.

    Args:
        curves: Curves of each label.
        output: Output block of the model's spec; None: there is no ground truth.
    """
    import numpy as np

    from itk_infer.evaluate.thresholds import choose, warnings_of

    width = max((len(label.name) for label in curves), default=0)
    each: dict[str, float] = {}
    for label in curves:
        name = f"{printable(label.name):<{width}}"
        if output is None:
            each[label.name] = label.pooled.otsu()
            click.echo(f"{name}  Otsu {each[label.name]:.3f}")
            continue
        mean, pooled = label.mean_dice(), label.pooled.dice()
        of_cases, of_all = choose(mean), choose(pooled)
        if of_cases is None or of_all is None or not label.best:
            click.echo(f"{name}  in no truth: no threshold")
            continue
        each[label.name] = of_cases.threshold
        low, middle, high = np.quantile(list(label.best.values()), (0, 0.5, 1))
        parts = [f"{of_cases.threshold:.3f}: mean Dice {of_cases.dice:.4f}{_now(label, output)}"]
        parts.append(f"as good: {of_cases.low:.3f} to {of_cases.high:.3f}")
        parts.append(f"all voxels together: {of_all.threshold:.3f}, Dice {of_all.dice:.4f}")
        parts.append(f"single cases: {low:.3f} to {high:.3f}, median {middle:.3f}")
        click.echo(f"{name}  {'; '.join(parts)}")
        for sentence in warnings_of(label, of_cases):
            _tell(f"{label.name}: {sentence}")
    if output is None:
        return each, curves[0].pooled.otsu() if len(curves) == 1 else None
    known = [label.mean_dice() for label in curves if label.best]
    together = choose(np.mean(known, axis=0)) if known else None
    if together is None:
        return each, None
    if output.decision == "threshold":
        click.echo(
            f"all labels  {together.threshold:.3f}: mean Dice {together.dice:.4f}; as good: {together.low:.3f} to "
            f"{together.high:.3f}"
        )
    _tell("thresholds of cases that the model was trained with are too good: use others, and test on yet others")
    return each, together.threshold


def _now(label: LabelCurves, output: OutputSpec) -> str:
    """The Dice at the threshold that the model has, in brackets; empty where it has none."""
    from itk_infer.evaluate.thresholds import STEPS

    current = dict(output.label_thresholds).get(
        label.name, output.threshold if output.decision == "threshold" else None
    )
    if current is None:
        return ""
    return f" (at {current:g}: {label.mean_dice()[max(0, round(current * STEPS) - 1)]:.4f})"


def _write(output: Path, threshold: dict[str, float] | float | None) -> None:
    """Write a spec with one threshold, or one per label; nothing where there is none."""
    from itk_infer.files.commit import write_bytes

    if not threshold:
        _tell(f"{output}: not written: there is no threshold to choose; --per-label writes one for each label")
        return
    content = {"spec": 1, "output": {"threshold": threshold}}
    write_bytes((json.dumps(content, indent=1) + "\n").encode(), output)
    _tell(f"spec: {output}; use it with --spec {output}")


def _tell(sentence: str) -> None:
    click.echo(printable(sentence), err=True)
