"""The state of an output folder, from its ledgers, its locks, and the masks and images that exist."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from itk_infer.errors import ConfigError
from itk_infer.files.records import OutputFile
from itk_infer.files.temporary import SHARED_MEMORY, temporary_folder
from itk_infer.run.case_record import CaseRecord
from itk_infer.run.heartbeat import BEAT_S
from itk_infer.run.label_schemes import label_schemes
from itk_infer.run.ledger import NAME, Ledger
from itk_infer.run.lock import at_work
from itk_infer.run.masks import images_gone, masks_on_record
from itk_infer.run.shard import shard_ledgers
from itk_infer.spec import Label

STATES = ("done", "running", "waiting", "failed", "skipped", "interrupted")


def folder_status(folder: Path) -> dict[str, Any]:
    """Return counts of cases by state, and masks that differ from those of the latest run; JSON-ready.

    A lock of another machine or container is watched for the time of two heartbeats.

    Raises:
        ConfigError: the folder has no ledger.
    """
    ledgers = [path for path in (folder / NAME, *shard_ledgers(folder)) if path.is_file()]
    if not ledgers:
        raise ConfigError(f"{folder}: holds no {NAME}; give the output folder of a run")
    cases: dict[str, CaseRecord] = {}
    outputs: dict[str, OutputFile] = {}
    runs, models = [], []
    for path in ledgers:
        with (
            temporary_folder(SHARED_MEMORY, folder),
            closing(Ledger(folder, read_only=True, name=path.name)) as ledger,
        ):
            records = ledger.cases()
            later = {name for name, r in records.items() if name not in cases or r.started > cases[name].started}
            cases |= {name: records[name] for name in later}
            found = ledger.outputs()
            outputs |= {path: o for path, o in found.items() if o.case in later or path not in outputs}
            run = ledger.last_run()
            if run is not None:
                runs.append(run)
                models.append((run[0], ledger.last_model()))
    counts = Counter(record.state for record in cases.values())
    last = max(runs, key=lambda run: run[0], default=None)
    model = max(models, key=lambda item: item[0], default=("", {}))[1]
    masks = masks_on_record(folder, cases, outputs, model.get("identity", {}))
    schemes = label_schemes(masks, [Label(**label) for label in model.get("labels", ())])
    return {
        "folder": str(folder),
        "cases": len(cases),
        "states": {state: counts[state] for state in STATES},
        "at_work": [{"pid": owner.pid, "host": owner.host} for owner in at_work(folder, 2 * BEAT_S)],
        "last_run": dict(zip(("started", "ended", "exit_code"), last, strict=True)) if last else None,
        "running": {name: "" for name, record in cases.items() if record.state == "running"},
        "failed": {name: record.reason or "" for name, record in cases.items() if record.state == "failed"},
        "skipped": {name: record.reason or "" for name, record in cases.items() if record.state == "skipped"},
        "image_gone": images_gone(cases),
        "masks": {
            mask.path or mask.case: "; ".join(mask.remarks) for mask in masks if mask.listed and mask.remarks
        },
        "label_tables": {name: scheme.masks for name, scheme in schemes.items()},
    }
