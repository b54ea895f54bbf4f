"""The choice of files to read: new or changed ones, and those whose results are of another model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from itk_infer.classify.database import ResultsDatabase
from itk_infer.classify.find import FoundFile, folders_of
from itk_infer.classify.settings import ClassifySettings
from itk_infer.errors import NoInputError

ROWS = 10_000  # files recorded per statement
MOST_MISSING = 5  # most missing files that a warning names


@dataclass(slots=True)
class ClassifyPlan:
    """Result of a search, as counts.

    Attributes:
        files: Number of files.
        waiting: Number of files to read.
        up_to_date: Number of files with results of this model.
        missing: Paths of files that have results and no longer exist; only the first ones.
        missing_ids: Row ids of all missing files that have results.
        gone_ids: Row ids of missing files without results.
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
    """Compare the files with the database, folder by folder.

    Args:
        database: The database; files to be read become ``waiting`` in it.
        settings: Input and output.
        model: Row id of the model; None: it is not in the database.
        check: Called between folders; raises to stop.
        write: False: only count, without changing the database.

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
            if record is not None and not settings.overwrite and is_current(record, file, model):
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
    """Folders of results, which are not searched unless they are the input itself."""
    folders = {settings.output.resolve(), settings.database_path.parent.resolve()}
    return frozenset(folders - {settings.input.resolve(), *settings.input.resolve().parents})


def is_current(record: tuple[object, ...], file: FoundFile, model: int | None) -> bool:
    """Whether a file has results of a model, and was not written since.

    Args:
        record: Its row, see `ResultsDatabase.known`.
        file: The file as it is now.
        model: Row id of the model; None: it is not in the database.
    """
    _, size, mtime_ns, inode, state, of_model, _ = record
    same = (size, mtime_ns, inode) == (file.size, file.mtime_ns, file.inode)
    return same and state in ("done", "skipped") and of_model == model and model is not None


def _may_be_current(record: tuple[object, ...], file: FoundFile, model: int | None) -> bool:
    """Whether the content must be compared: the size is the same, and the file may only be copied or touched."""
    _, size, _, _, state, of_model, sha256 = record
    waits_for_it = state == "done" or (state == "waiting" and of_model is not None)
    return waits_for_it and size == file.size and of_model == model and model is not None and sha256 is not None


def _miss(plan: ClassifyPlan, records: dict[str, tuple[Any, ...]]) -> None:
    done = sorted(path for path, record in records.items() if record[4] == "done")
    plan.missing += done[: max(0, MOST_MISSING - len(plan.missing))]
    plan.missing_ids += [records[path][0] for path in done]
    plan.gone_ids += [record[0] for record in records.values() if record[4] != "done"]
