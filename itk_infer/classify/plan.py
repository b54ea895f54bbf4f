"""Which files are read: those that are new or changed, and those whose results are of another model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from itk_infer.classify.database import ResultsDatabase
from itk_infer.classify.find import FoundFile, folders_of
from itk_infer.classify.settings import ClassifySettings
from itk_infer.errors import NoInputError

ROWS = 10_000  # of files that are recorded at a time
MOST_MISSING = 5  # that a warning names


@dataclass(slots=True)
class ClassifyPlan:
    """What a search found, in numbers.

    Attributes:
        files: Found.
        waiting: Of them, to be read.
        up_to_date: Of them, with results of this model.
        missing: With results on record, and no longer there: the first by name.
        missing_ids: Rows of all of them.
        gone_ids: Rows of files without results that are no longer there.
    """

    files: int = 0
    waiting: int = 0
    up_to_date: int = 0
    missing: list[str] = field(default_factory=list)
    missing_ids: list[int] = field(default_factory=list)
    gone_ids: list[int] = field(default_factory=list)


def make_plan(
    database: ResultsDatabase,
    settings: ClassifySettings,
    model: int | None,
    check: Callable[[], None] = lambda: None,
    *,
    write: bool = True,
) -> ClassifyPlan:
    """Compare the files with the record, folder by folder.

    Args:
        database: The record; files to be read become ``waiting`` in it.
        settings: Input and output.
        model: Row of the model; None: it was never run here.
        check: Called between folders; raises to stop.
        write: False: only count.

    Raises:
        NoInputError: there is no file.
        ConfigError: a folder cannot be listed.
    """
    plan = ClassifyPlan()
    rows: list[tuple[object, ...]] = []
    seen: set[str] = set()
    for folder, files in folders_of(settings.input, _left_out(settings)):
        check()
        seen.add(folder)
        known = database.known(folder)
        for file in files:
            path = f"{folder}/{file.name}" if folder else file.name
            record = known.pop(path, None)
            plan.files += 1
            if record is not None and not settings.overwrite and _is_current(record, file, model):
                plan.up_to_date += 1
                continue
            plan.waiting += 1
            same_content = record is not None and not settings.overwrite and _may_be_current(record, file, model)
            stamp = (file.size, file.mtime_ns, file.inode)
            rows.append((path, folder, *stamp, model if same_content else None))
        if settings.input.is_dir():
            _miss(plan, known)
        if write and len(rows) >= ROWS:
            database.put_waiting(rows)
            rows.clear()
    if not plan.files:
        raise NoInputError(f"{settings.input}: holds no file")
    if write:
        database.put_waiting(rows)
    if settings.input.is_dir():
        for folder in sorted(set(database.folders()) - seen):
            _miss(plan, database.known(folder))
    return plan


def _left_out(settings: ClassifySettings) -> frozenset[Path]:
    """Folders of results, unless they are the input itself."""
    folders = {settings.output.resolve(), settings.database_path.parent.resolve()}
    return frozenset(folders - {settings.input.resolve(), *settings.input.resolve().parents})


def _is_current(record: tuple[object, ...], file: FoundFile, model: int | None) -> bool:
    _, size, mtime_ns, inode, state, of_model, _ = record
    same = (size, mtime_ns, inode) == (file.size, file.mtime_ns, file.inode)
    return same and state in ("done", "skipped") and of_model == model and model is not None


def _may_be_current(record: tuple[object, ...], file: FoundFile, model: int | None) -> bool:
    """Whether the content decides: a file of the same size that was copied or touched."""
    _, size, _, _, state, of_model, sha256 = record
    waits_for_it = state == "done" or (state == "waiting" and of_model is not None)
    return waits_for_it and size == file.size and of_model == model and model is not None and sha256 is not None


def _miss(plan: ClassifyPlan, records: dict[str, tuple[Any, ...]]) -> None:
    done = sorted(path for path, record in records.items() if record[4] == "done")
    plan.missing += done[: max(0, MOST_MISSING - len(plan.missing))]
    plan.missing_ids += [records[path][0] for path in done]
    plan.gone_ids += [record[0] for record in records.values() if record[4] != "done"]
