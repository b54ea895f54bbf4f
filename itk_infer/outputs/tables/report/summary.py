"""The summary of the report: counts, throughput, time per stage, volumes, versions, command."""

from __future__ import annotations

import shlex
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from itk_infer.outputs.tables.report.entry import Entry
from itk_infer.outputs.tables.table import FolderView, RunFacts


@dataclass(frozen=True, slots=True)
class Summary:
    """Summary of a folder in the report.

    Attributes:
        cases: Number of masks in the report.
        doubtful: Number of masks with a reason for review.
        failed: Number of cases without a result.
        verdicts: Number of decisions by verdict.
        throughput: Cases per hour of the latest run that computed any; None if unknown.
        seconds: Mean time per case, by stage.
        volumes_ml: Volumes in millilitres, by label name.
        run: The latest run; None if there was none.
    """

    cases: int
    doubtful: int
    failed: int
    verdicts: dict[str, int]
    throughput: float | None
    seconds: dict[str, float]
    volumes_ml: dict[str, list[float]] = field(default_factory=dict)
    run: RunFacts | None = None

    @property
    def command(self) -> str:
        """The command line of the latest run, quoted for a shell; empty if it was started from Python."""
        return shlex.join(self.run.command) if self.run and self.run.command else ""

    def document(self) -> dict[str, Any]:
        """Convert to a JSON-ready mapping."""
        document = asdict(self)
        del document["volumes_ml"]
        return document | {"volume_ml": {name: _spread(values) for name, values in self.volumes_ml.items()}}


def summary_of(entries: Sequence[Entry], view: FolderView) -> Summary:
    """Make the summary of these cases."""
    stages: dict[str, list[float]] = {}
    volumes: dict[str, list[float]] = {}
    for entry in entries:
        for stage, seconds in entry.facts.seconds.items():
            stages.setdefault(stage, []).append(seconds)
        for name, volume in entry.row.volumes_ml.items():
            volumes.setdefault(name, []).append(volume)
    verdicts = Counter(entry.facts.verdict for entry in entries if entry.facts.verdict)
    return Summary(
        len(entries),
        sum(bool(entry.row.review) for entry in entries),
        len(view.failed),
        dict(verdicts),
        _throughput(entries, view.runs),
        {stage: statistics.fmean(values) for stage, values in stages.items()},
        volumes,
        view.runs[-1] if view.runs else None,
    )


def _throughput(entries: Sequence[Entry], runs: Sequence[RunFacts]) -> float | None:
    """Cases per hour of the latest run that computed any: those that ended after its start, until the last one."""
    ends = [datetime.fromisoformat(entry.facts.ended) for entry in entries if entry.facts.ended]
    for run in reversed(runs):
        started = datetime.fromisoformat(run.started)
        computed = [end for end in ends if end >= started]
        hours = (max(computed) - started).total_seconds() / 3600 if computed else 0.0
        if hours:
            return len(computed) / hours
    return None


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "cases": len(values),
        "smallest": min(values),
        "median": statistics.median(values),
        "largest": max(values),
    }
