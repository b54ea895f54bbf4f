"""``itk_infer calibrate``: the Dice to expect of a mask, from a score that needs no truth."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from itk_infer.cli.options import PATH, GroupedCommand, option
from itk_infer.volume.names import printable

if TYPE_CHECKING:
    from itk_infer.evaluate.calibrate import ScoredCase
    from itk_infer.evaluate.scores import CaseScores
    from itk_infer.run.masks import Mask

CALIBRATION = "Calibration"
SCORE = "confidence_foreground"


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("output", type=PATH)
@click.argument("truths", type=PATH)
@option("-o", "--calibration", heading=CALIBRATION, type=PATH, required=True, help="File to write, .json.")
@option(
    "--score",
    heading=CALIBRATION,
    default=SCORE,
    show_default=True,
    help="Score in the ledger that says how certain the model is.",
)
@option("--limit", heading=CALIBRATION, default=0.8, show_default=True, help="The least Dice that is good enough.")
@option(
    "--coverage",
    heading=CALIBRATION,
    default=0.9,
    show_default=True,
    help="Share of cases that each bound shall hold for.",
)
@option(
    "--failures",
    heading=CALIBRATION,
    default=0.05,
    show_default=True,
    help="Share of accepted cases that may have a lower Dice than --limit.",
)
@option(
    "--confidence",
    heading=CALIBRATION,
    default=0.9,
    show_default=True,
    help="Probability that no more of them do.",
)
@option("--workers", heading="Running", type=click.IntRange(min=1), help="Processes.  [default: one per core]")
def calibrate_command(
    output: Path,
    truths: Path,
    calibration: Path,
    score: str,
    limit: float,
    coverage: float,
    failures: float,
    confidence: float,
    workers: int | None,
) -> int:
    """Learn from the output folder OUTPUT and the label maps in TRUTHS which Dice to expect at which score.

    Needs 20 cases that the model was not trained with. With the file, ``itk_infer report --calibration`` gives
    verdicts on cases without truth: accept, review or reject.
    """
    from itk_infer.evaluate.calibrate import calibrate, fewest_accepted
    from itk_infer.files.commit import write_bytes

    shares = {"--limit": limit, "--coverage": coverage, "--failures": failures, "--confidence": confidence}
    for flag, value in shares.items():
        if not 0 < value < 1:
            raise click.UsageError(f"{flag} {value:g}: give a number between 0 and 1")
    cases, digest, failed = _scored_cases(output, truths, score, workers)
    made = calibrate(
        cases,
        model=digest,
        score=score,
        coverage=coverage,
        limit=limit,
        failures=failures,
        confidence=confidence,
    )
    write_bytes(made.to_json().encode(), calibration)
    click.echo(
        f"{made.cases} cases, {score} {made.score_range.low:.3f} to {made.score_range.high:.3f}: a Dice at most "
        f"{made.below:.3f} below and {made.above:.3f} above what is expected, each for {coverage:.0%} of cases"
    )
    promise = (
        f"at most {failures:.2g} of the accepted have a Dice below {limit:g}, with a confidence of "
        f"{confidence:.2g}"
    )
    if made.accept_from is None:
        fewest = fewest_accepted(failures, confidence)
        click.echo(f"nothing will be accepted: no {score} promises that {promise}")
        _tell(f"this takes {fewest} cases with truth and a high {score}, none of them bad, or more; or --failures")
    else:
        accepted = [case for case in cases if case.score >= made.accept_from]
        bad = sum(case.dice < limit for case in accepted)
        click.echo(f"accepted from {score} {made.accept_from:.3f}: {promise}")
        click.echo(f"{len(accepted)} of the {made.cases} cases have it; {bad} of them have less")
    _tell(f"calibration: {calibration}; use it with itk_infer report {output} --calibration {calibration}")
    return 3 if failed else 0


def _scored_cases(
    output: Path, truths: Path, score: str, workers: int | None
) -> tuple[list[ScoredCase], str, int]:
    """Scores from the ledger, Dice from the truths; the digest of the model; how many pairs failed."""
    from contextlib import closing

    from itk_infer.evaluate.case import CaseTask
    from itk_infer.evaluate.folder import evaluate_all
    from itk_infer.evaluate.label_tables import from_labels, table_beside
    from itk_infer.evaluate.metrics import MetricSettings
    from itk_infer.evaluate.pairs import find_pairs
    from itk_infer.evaluate.store import ScoreStore
    from itk_infer.machine import usable_cores
    from itk_infer.run.ledger import NAME, Ledger
    from itk_infer.run.masks import masks_on_record
    from itk_infer.spec import Label
    from itk_infer.spec.calibration import identity_digest

    if not (output / NAME).is_file():
        raise click.UsageError(f"{output}: holds no {NAME}; give the output folder of a run")
    with closing(Ledger(output, read_only=True)) as ledger:
        model = ledger.last_model()
        masks = masks_on_record(output, ledger.cases(), ledger.outputs(), model.get("identity", {}))
    usable = {}
    for mask in masks:
        if mask.path and mask.present and mask.results and not (mask.changed or mask.difference):
            usable[(output / mask.path).resolve()] = mask
        elif mask.path:
            _tell(f"{mask.path}: does not count: {'; '.join(mask.remarks) or 'nothing is known of it'}")
    pairs = find_pairs(output, truths, recursive=True)
    chosen = [pair for pair in pairs.pairs if pair.mask.resolve() in usable]
    labels = from_labels(Label(**label) for label in model.get("labels", ()))
    tables = tuple(labels.values()), tuple(table_beside(truths).values())
    tasks = [CaseTask(pair, *tables, MetricSettings()) for pair in chosen]
    with closing(ScoreStore(None)) as store:
        result = evaluate_all(tasks, store, workers or usable_cores(), lambda name, done, every: None)
    for name, reason in result.failed.items():
        _tell(f"failed: {name}: {reason}")
    of_name = {pair.name: usable[pair.mask.resolve()] for pair in chosen}
    scored = [_scored(case, of_name[case.name], score) for case in result.cases]
    return [case for case in scored if case], identity_digest(model.get("identity", {})), len(result.failed)


def _scored(case: CaseScores, mask: Mask, score: str) -> ScoredCase | None:
    from itk_infer.errors import ConfigError
    from itk_infer.evaluate.calibrate import ScoredCase

    results: dict[str, Any] = mask.results or {}
    if score not in results:
        numbers = [key for key, value in results.items() if isinstance(value, float)]
        raise ConfigError(f"--score {score}: the ledger has no such number; it has {', '.join(numbers)}")
    dices = [label.dice for label in case.labels if label.dice is not None]
    value = results[score]
    if value is None or not math.isfinite(value) or not dices:
        _tell(f"{case.name}: does not count: it has no {score}, or no label")
        return None
    volumes = {finding["name"]: float(finding["volume_ml"]) for finding in results["findings"]}
    return ScoredCase(case.name, float(value), sum(dices) / len(dices), volumes)


def _tell(sentence: str) -> None:
    click.echo(printable(sentence), err=True)
