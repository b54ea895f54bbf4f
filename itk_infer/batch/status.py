"""The state of an output folder, from its ledgers and locks alone."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from itk_infer.batch.ledger import NAME, CaseRecord, Ledger
from itk_infer.batch.lock import is_held, owner_of
from itk_infer.batch.shard import shard_ledgers
from itk_infer.errors import ConfigError
from itk_infer.temporary import SHARED_MEMORY, temporary_folder

STATES = ("done", "running", "waiting", "failed", "skipped", "interrupted")


def folder_status(folder: Path) -> dict[str, Any]:
    """What is done, at work, waiting and failed, JSON-ready.

    Raises:
        ConfigError: no run has ever written there.
    """
    ledgers = [path for path in (folder / NAME, *shard_ledgers(folder)) if path.is_file()]
    if not ledgers:
        raise ConfigError(f"{folder}: holds no {NAME}; give the output folder of a run")
    cases: dict[str, CaseRecord] = {}
    runs = []
    for path in ledgers:
        with (
            temporary_folder(SHARED_MEMORY, folder),
            closing(Ledger(folder, read_only=True, name=path.name)) as ledger,
        ):
            for name, record in ledger.cases().items():
                if name not in cases or record.started > cases[name].started:
                    cases[name] = record
            run = ledger.last_run()
            runs += [run] if run else []
    counts = Counter(record.state for record in cases.values())
    locks = [path for path in sorted(folder.glob("itk_infer*.lock")) if is_held(path)]
    last = max(runs, default=None)
    return {
        "folder": str(folder),
        "cases": len(cases),
        "states": {state: counts[state] for state in STATES},
        "at_work": [{"pid": owner.get("pid"), "host": owner.get("host")} for owner in map(owner_of, locks)],
        "last_run": dict(zip(("started", "ended", "exit_code"), last, strict=True)) if last else None,
        "running": {name: "" for name, record in cases.items() if record.state == "running"},
        "failed": {name: record.reason or "" for name, record in cases.items() if record.state == "failed"},
    }
