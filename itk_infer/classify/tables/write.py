"""Writes the tables of an output folder of `itk_infer classify`; needs only its database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from itk_infer.classify.tables.groups import Group, Groups
from itk_infer.classify.tables.rows import (
    Row,
    file_row,
    group_rows,
    image_header,
    image_row,
    kaggle_rows,
    result_rows,
    slice_rows,
)
from itk_infer.classify.tables.source import GROUPS, ResultsSource, TableLabel
from itk_infer.classify.tables.study_rule import study_rule
from itk_infer.errors import ConfigError
from itk_infer.files.cells import OnDigest, digest, write_csv

PLURAL: Final = {"study": "studies", "series": "series", "patient": "patients", "folder": "folders"}


@dataclass(frozen=True, slots=True)
class TableSettings:
    """Which tables are written, and how images are grouped.

    Attributes:
        group_by: Images are grouped by ``study``, ``series``, ``patient`` or ``folder``.
        rule: Name of the rule that combines a group's images; None: that of the model's spec.
        kaggle: Whether to write `kaggle.csv`, too.
        xlsx: Whether to write `results.xlsx`, too.
        overwrite: Whether to replace tables that were changed by hand.
    """

    group_by: str = "study"
    rule: str | None = None
    kaggle: bool = False
    xlsx: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.group_by not in GROUPS:
            raise ConfigError(f"`group_by={self.group_by}`: there are {', '.join(GROUPS)}")


@dataclass(slots=True)
class TableSummary:
    """Summary of an output folder.

    Attributes:
        images: Number of pictures per state: counted, copy, conflict, without prediction.
        files: Number of files without pictures per state.
        groups: Number of studies, or of other groups.
        empty: Number of groups without a readable image.
        positives: Number of positive studies per label.
        combinations: Number of studies per combination of positive labels.
        run: Number of images and seconds of the last run.
        notes: Sentences about tables that were not replaced, or truncated.
    """

    group_by: str
    images: Counter[str]
    files: Counter[str]
    groups: int = 0
    empty: int = 0
    positives: dict[str, int] = field(default_factory=dict)
    combinations: Counter[tuple[str, ...]] = field(default_factory=Counter)
    run: tuple[int, float] | None = None
    notes: list[str] = field(default_factory=list)


def write_tables(
    folder: Path, settings: TableSettings = TableSettings(), *, database: Path | None = None
) -> TableSummary:
    """Write `images.csv`, `predictions_per_slice.csv`, `studies.csv`, `results.csv`, and requested others.

    Args:
        folder: Output folder. The caller must hold the lock of the database's folder.
        settings: Tables to write, and grouping.
        database: Path of `results.db`, whose table ``about`` keeps the digests of the tables; None: in `folder`.

    Raises:
        ConfigError: there is no database, or a setting is unknown.
        OutputError: a table cannot be written.
    """
    with closing(ResultsSource(database or folder)) as source:
        rule = settings.rule or source.study_rule
        groups = Groups(settings.group_by, source.labels, study_rule(rule))
        writer = _Writer(folder, source, settings.overwrite)
        for image in source.images():
            groups.add_image(image)
        for file in source.other_files():
            groups.add_file(file)
        found, by = groups.sorted(), settings.group_by
        # The short tables first: for half a million images, the long ones take a minute.
        writer.csv(f"{PLURAL[by]}.csv", group_rows(found, source.labels, by, rule))
        writer.csv("results.csv", result_rows(found, source.labels, by, rule))
        writer.csv("images.csv", _images(source))
        writer.csv("predictions_per_slice.csv", slice_rows(source.images_by_series(), source.labels))
        if settings.kaggle:
            writer.csv("kaggle.csv", kaggle_rows(source.images(), source.labels), plain=True)
        if settings.xlsx:
            writer.workbook("results.xlsx", source, found, by, rule)
        summary = TableSummary(by, groups.states, groups.other, run=source.last_run())
        summary.notes = writer.notes
        _count(summary, found, source.labels)
        return summary


def _images(source: ResultsSource) -> Iterator[Row]:
    """Rows of `images.csv`."""
    yield image_header(source.labels)
    yield from (image_row(image, source.labels) for image in source.images())
    yield from (file_row(file, source.labels) for file in source.other_files())


def _count(summary: TableSummary, groups: Sequence[Group], labels: Sequence[TableLabel]) -> None:
    summary.groups = len(groups)
    summary.empty = sum(not group.images for group in groups)
    summary.positives = {label.name: 0 for label in labels}
    for group in groups:
        positive = group.positives(labels)
        if group.images:
            summary.combinations[positive] += 1
        for name in positive:
            summary.positives[name] += 1


class _Writer:
    """Writes tables, except over those that were changed by hand after the last run."""

    def __init__(self, folder: Path, source: ResultsSource, overwrite: bool) -> None:
        self._folder, self._source, self._overwrite = folder, source, overwrite
        self.notes: list[str] = []

    def csv(self, name: str, rows: Iterable[Row], *, plain: bool = False) -> None:
        self._write(name, lambda path, on_digest: write_csv(path, rows, plain=plain, on_digest=on_digest))

    def workbook(self, name: str, source: ResultsSource, found: Sequence[Group], by: str, rule: str) -> None:
        from itk_infer.classify.tables.workbook import MOST_ROWS, write_workbook

        images = (image_row(image, source.labels) for image in source.images())
        sheets: dict[str, Iterable[Row]] = {
            PLURAL[by]: group_rows(found, source.labels, by, rule),
            "images": (row for part in ((image_header(source.labels),), images) for row in part),
        }

        def write(path: Path, on_digest: OnDigest) -> None:
            cut = write_workbook(path, sheets, on_digest)
            self.notes += [f"{name}: its sheet {title} has the first {MOST_ROWS:,} rows only" for title in cut]

        self._write(name, write)

    def _write(self, name: str, write: Callable[[Path, OnDigest], None]) -> None:
        path = self._folder / name
        there = digest(path) if path.is_file() else ""
        if there and not self._overwrite and there not in self._source.recorded(name):
            self.notes.append(f"{path}: was changed since it was written, and is kept; `overwrite` replaces it")
            return
        # Both digests are recorded: after a kill, the file has one or the other.
        write(path, lambda made: self._source.record(name, f"{there} {made}"))
