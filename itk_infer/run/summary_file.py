"""The result of each case of a run, as a file for other programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from itk_infer._version import __version__
from itk_infer.files.commit import write_bytes
from itk_infer.run.ledger import Ledger
from itk_infer.run.plan import CaseAction
from itk_infer.run.summary import Summary


@dataclass(frozen=True, slots=True)
class CaseSummary:
    """The result of one case.

    Attributes:
        case: Name of the case.
        state: State as in the ledger; ``waiting`` if the run ended before it.
        reason: Why it failed or was skipped.
        series: Chosen DICOM series, each with the reason for the choice.
        volumes_ml: Volume in millilitres by label name.
        confidence: Mean confidence over all voxels.
        outputs: Paths of its files below the output folder.
        pushed: Number of its DICOM objects by destination and state.
        seconds: Total duration of all stages.
    """

    case: str
    state: str = "waiting"
    reason: str = ""
    series: tuple[str, ...] = ()
    volumes_ml: dict[str, float] = field(default_factory=dict)
    confidence: float | None = None
    outputs: tuple[str, ...] = ()
    pushed: dict[str, dict[str, int]] = field(default_factory=dict)
    seconds: float = 0.0


def write_summary(path: Path, plan: Sequence[CaseAction], summary: Summary, ledger: Ledger, model: str) -> None:
    """Write the file, which replaces an earlier one.

    Args:
        path: The file.
        plan: The cases of the run.
        summary: The result of the run.
        ledger: The ledger of the output folder.
        model: The model's name.

    Raises:
        OutputError: the file cannot be written.
    """
    records, outputs = ledger.cases(), ledger.outputs().values()
    cases = []
    for case in (planned.case for planned in plan):
        record = records.get(case.name)
        if record is None:
            found = CaseSummary(case.name)
        else:
            found = CaseSummary(case.name, record.state, record.reason or "")
        if record is not None and record.state == "done":
            results = record.results or {}
            found = replace(
                found,
                volumes_ml=_volumes(results),
                confidence=results.get("confidence"),
                outputs=tuple(output.path for output in outputs if output.case == case.name),
                seconds=round(sum(results.get("seconds", {}).values()), 3),
            )
        cases.append(replace(found, series=tuple(case.chosen)))
    over = [{"name": name, "reason": summary.skipped[name]} for name in summary.passed_over]
    write_cases(path, cases, model=model, exit_code=summary.exit_code, problem=summary.problem, passed_over=over)


def write_cases(path: Path, cases: Sequence[CaseSummary], **facts: Any) -> None:
    """Write the results of cases, and facts about the run, to the file; errors as in `write_summary`."""
    document = {"itk_infer": __version__, **facts, "cases": [asdict(case) for case in cases]}
    write_bytes(json.dumps(document, indent=2).encode(), path)


def _volumes(results: dict[str, Any]) -> dict[str, float]:
    return {finding["name"]: finding["volume_ml"] for finding in results.get("findings", ())}
