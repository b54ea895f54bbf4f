"""Files that need not be read again, by the database of earlier runs; asked before the model is known."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from itk_infer.classify.database import ResultsDatabase
from itk_infer.classify.find import FoundFile
from itk_infer.classify.plan import is_current
from itk_infer.errors import ConfigError


class DoneFiles:
    """The files with results of the last run's model; a context manager, for one thread.

    Args:
        path: The database. It is only read.

    Raises:
        ConfigError: it is not such a database, or cannot be read at the moment.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.with_name(f"{path.name}-journal").exists():
            raise ConfigError(f"{path}: an unfinished transaction is undone by the run")
        with self._readable():
            self._database = ResultsDatabase(path, read_only=True)
            self._model = self._database.last_model()

    def __enter__(self) -> DoneFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def without(self, folder: str, files: list[FoundFile]) -> list[FoundFile]:
        """Those files of a folder that have no current results.

        Args:
            folder: Path of the folder, relative to the input.
            files: Its files.

        Raises:
            ConfigError: the database cannot be read at the moment.
        """
        with self._readable():
            known = self._database.known(folder)
        prefix = f"{folder}/" if folder else ""

        def done(file: FoundFile) -> bool:
            record = known.get(f"{prefix}{file.name}")
            return record is not None and is_current(record, file, self._model)

        return [file for file in files if not done(file)]

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise ConfigError(f"{self._path}: cannot be read ({error})") from error
