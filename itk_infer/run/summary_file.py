"""The result of each case of a run, as a file for other programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from itk_infer._version import __version__
from itk_infer.files.commit import write_bytes
from itk_infer.run.ledger import Ledger
from itk_infer.run.plan import CaseAction
from itk_infer.run.summary import Summary


def write_summary(path: Path, plan: Sequence[CaseAction], summary: Summary, ledger: Ledger, model: str) -> None:
    """Write the file, which replaces an earlier one.

    Args:
        path: The file.
        plan: The cases of the run.
        summary: The result of the run.
        ledger: The ledger of the output folder.
        model: The model's name.

    Raises:
        OutputError: it cannot be written.
    """
    records, outputs = ledger.cases(), ledger.outputs().values()
    cases = []
    for planned in plan:
        case, record = planned.case, records.get(planned.case.name)
        results = (record.results if record else None) or {}
        is_done = record is not None and record.state == "done"
        cases.append(
            {
                "case": case.name,
                "state": record.state if record else "waiting",
                "reason": (record.reason if record else None) or "",
                "series": list(case.chosen),
                "volumes_ml": _volumes(results) if is_done else {},
                "confidence": results.get("confidence") if is_done else None,
                "outputs": [output.path for output in outputs if output.case == case.name] if is_done else [],
                "pushed": {},
                "seconds": round(sum(results.get("seconds", {}).values()), 3) if is_done else 0.0,
            }
        )
    document = {
        "itk_infer": __version__,
        "model": model,
        "exit_code": summary.exit_code,
        "problem": summary.problem,
        "cases": cases,
        "passed_over": [{"name": name, "reason": summary.skipped[name]} for name in summary.passed_over],
    }
    write_bytes(json.dumps(document, indent=2).encode(), path)


def _volumes(results: dict[str, Any]) -> dict[str, float]:
    return {finding["name"]: finding["volume_ml"] for finding in results.get("findings", ())}
