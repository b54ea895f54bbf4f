"""Reads the model, its labels, images and files from `results.db`, for tables."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from itk_infer.classify.schema import CURRENT_MODEL, DATABASE_NAME, SCHEMA_VERSION
from itk_infer.errors import ConfigError, OutputError

COLUMNS: Final = (
    "f.path, f.folder, i.frame, i.study, i.series, i.sop, i.position, i.state, f.patient, f.frames, i.id"
)
GROUPS: Final = ("study", "series", "patient", "folder")


@dataclass(frozen=True, slots=True)
class TableLabel:
    """One label of the model, see the table ``labels``."""

    name: str
    threshold: float
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One picture with its prediction, see the tables ``images`` and ``files``.

    Attributes:
        probabilities: One per label; empty if there is no prediction of the current model.
        stds: Standard deviation per label; None for a single network.
    """

    path: str
    folder: str
    frame: int
    study: str
    series: str | None
    sop: str
    position: float | None
    state: str
    patient: str | None
    frames: int | None
    id: int
    probabilities: tuple[float, ...]
    stds: tuple[float | None, ...]

    def group(self, by: str) -> str:
        """Key of its group, see `group_of`."""
        return group_of(by, self.study, self.series, self.patient, self.folder)


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file without pictures.

    Attributes:
        state: ``failed``, ``skipped`` or ``waiting``.
    """

    path: str
    folder: str
    state: str
    reason: str
    study: str | None
    series: str | None
    sop: str | None
    patient: str | None

    def group(self, by: str) -> str:
        """Key of its group, see `group_of`."""
        return group_of(by, self.study or f"folder:{self.folder}", self.series, self.patient, self.folder)


def group_of(by: str, study: str, series: str | None, patient: str | None, folder: str) -> str:
    """Key of the group of an image; without a series or patient ID, images are grouped by study."""
    if by == "folder":
        return folder or "."
    return {"series": series, "patient": patient}.get(by) or study


class ResultsSource:
    """The results of an output folder of `itk_infer classify`.

    Args:
        folder: The output folder, or its database.

    Raises:
        ConfigError: there is no database, it is of another version, or holds no run.
    """

    def __init__(self, folder: Path) -> None:
        path = folder if folder.is_file() else folder / DATABASE_NAME
        if not path.is_file():
            raise ConfigError(f"{path}: no such file; give the output folder of `itk_infer classify`")
        self.path = path
        self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)
        try:
            version = self._db.execute("SELECT value FROM about WHERE key = 'schema'").fetchone()
            model = self._db.execute(CURRENT_MODEL).fetchone()
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise ConfigError(f"{path}: is no database of results ({error})") from None
        if version is None or version[0] != str(SCHEMA_VERSION):
            self._db.close()
            raise ConfigError(f"{path}: was written by another version of itk_infer; use that one")
        if model is None:
            self._db.close()
            raise ConfigError(f"{path}: no model ran yet; run itk_infer classify with this output folder first")
        self.model: int = model[0]
        rows = self._db.execute(
            "SELECT name, threshold, parent FROM labels WHERE model = ? ORDER BY label", (self.model,)
        )
        self.labels = tuple(TableLabel(*row) for row in rows)
        self.name, self.sha256, self.study_rule, members = self._db.execute(
            "SELECT name, sha256, study_rule, members FROM models WHERE id = ?", (self.model,)
        ).fetchone()
        self.members: list[dict[str, Any]] = json.loads(members)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def images(self) -> Iterator[ImageRow]:
        """All pictures by path and frame, including copies and conflicts."""
        return self._images("LEFT JOIN", "f.path, i.frame")

    def images_by_series(self) -> Iterator[ImageRow]:
        """Counted pictures with predictions, by series and position."""
        order = "ifnull(i.series, i.study), i.position IS NULL, i.position, f.path, i.frame"
        return self._images("JOIN", order)

    def _images(self, join: str, order: str) -> Iterator[ImageRow]:
        # A file that is to be read again still has the images of its former content.
        counted = "AND i.state = 'counted' " if join == "JOIN" else ""
        query = (
            f"SELECT {COLUMNS}, p.probability, p.std FROM files f JOIN images i ON i.file = f.id "
            f"{join} predictions p ON p.image = i.id AND p.model = ? WHERE f.state = 'done' {counted}"
            f"ORDER BY {order}, p.label"
        )
        count = len(COLUMNS.split(","))
        for _, group in groupby(self._db.execute(query, (self.model,)), key=itemgetter(count - 1)):
            rows = list(group)
            values = [row[count:] for row in rows if row[count] is not None]
            probabilities, stds = tuple(v[0] for v in values), tuple(v[1] for v in values)
            yield ImageRow(*(*rows[0][:count], probabilities, stds))

    def other_files(self) -> Iterator[FileRow]:
        """Files without pictures, by path."""
        query = (
            "SELECT path, folder, state, ifnull(reason, ''), study, series, sop, patient FROM files f "
            "WHERE state != 'done' ORDER BY path"
        )
        yield from (FileRow(*row) for row in self._db.execute(query))

    def last_run(self) -> tuple[int, float] | None:
        """Number of images and seconds of the last run; None if it has not ended."""
        images, seconds = self._db.execute("SELECT images, seconds FROM runs ORDER BY id DESC LIMIT 1").fetchone()
        return None if images is None or seconds is None else (images, seconds)

    def recorded(self, name: str) -> list[str]:
        """Accepted digests of a table that was not changed by hand; empty if it was never written."""
        row = self._db.execute("SELECT value FROM about WHERE key = ?", (f"table:{name}",)).fetchone()
        return row[0].split() if row else []

    def record(self, name: str, digests: str) -> None:
        """Store the accepted digests of a table, separated by spaces.

        Raises:
            OutputError: the database cannot be written.
        """
        try:
            with self._db:
                self._db.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (f"table:{name}", digests))
        except sqlite3.Error as error:
            raise OutputError(f"{self.path}: cannot be written ({error}); check its permissions") from error
