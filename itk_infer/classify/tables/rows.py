"""Rows of each table. Probabilities have seven decimal places, the precision of float32."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from itk_infer.classify.tables.groups import Group
from itk_infer.classify.tables.source import FileRow, ImageRow, TableLabel
from itk_infer.files.cells import Cell

Row = Sequence[Cell]


def rounded(value: float | None) -> float | None:
    """The value rounded to seven decimal places."""
    return None if value is None else round(value, 7)


def image_header(labels: Sequence[TableLabel]) -> Row:
    """Column titles of `images.csv`."""
    names = [label.name for label in labels]
    about = ("file", "frame", "study", "series", "sop", "position", "state", "reason")
    return (*about, *names, *(f"{name} std" for name in names))


def image_row(row: ImageRow, labels: Sequence[TableLabel]) -> Row:
    """Row of `images.csv` for an image; cells of probabilities are empty without a prediction."""
    empty = [None] * (len(labels) - len(row.probabilities))
    about = (row.path, row.frame, row.study, row.series, row.sop, row.position, row.state, None)
    return (*about, *map(rounded, row.probabilities), *empty, *map(rounded, row.stds), *empty)


def file_row(row: FileRow, labels: Sequence[TableLabel]) -> Row:
    """Row of `images.csv` for a file without images."""
    about = (row.path, None, row.study, row.series, row.sop, None, row.state, row.reason)
    return (*about, *[None] * (2 * len(labels)))


def slice_rows(images: Iterable[ImageRow], labels: Sequence[TableLabel]) -> Iterator[Row]:
    """Rows of `predictions_per_slice.csv`, from `ResultsSource.images_by_series`, numbered within each series."""
    names = [label.name for label in labels]
    yield (
        "series",
        "slice",
        "position",
        "study",
        "sop",
        "file",
        "frame",
        *names,
        *(f"{n} positive" for n in names),
    )
    series, number = None, 0
    for row in images:
        key = row.series or row.study
        number = number + 1 if key == series else 0
        series = key
        flags = [int(p >= label.threshold) for p, label in zip(row.probabilities, labels, strict=True)]
        image = (key, number, row.position, row.study, row.sop, row.path, row.frame)
        yield (*image, *map(rounded, row.probabilities), *flags)


def group_rows(groups: Iterable[Group], labels: Sequence[TableLabel], by: str, rule: str) -> Iterator[Row]:
    """Rows of `studies.csv`: one per study, including studies without a readable image."""
    names = [label.name for label in labels]
    yield (
        *(by, "images", "failed", "copies", "conflicts", "state"),
        *names,
        *(f"{name} positive" for name in names),
        *(f"{name} image" for name in names),
        "rule",
    )
    for group in groups:
        values = group.values()
        flags = [
            None if value is None else int(value >= label.threshold)
            for value, label in zip(values, labels, strict=True)
        ]
        about = (group.key, group.images, group.failed, group.copies, group.conflicts, group.state)
        yield (*about, *map(rounded, values), *flags, *(group.image(i) for i in range(len(labels))), rule)


def result_rows(groups: Iterable[Group], labels: Sequence[TableLabel], by: str, rule: str) -> Iterator[Row]:
    """Rows of `results.csv`: one per study and label."""
    yield (by, "label", "probability", "threshold", "positive", "rule", "images", "failed", "state", "image")
    for group in groups:
        for index, (label, value) in enumerate(zip(labels, group.values(), strict=True)):
            flag = None if value is None else int(value >= label.threshold)
            about = (rule, group.images, group.failed, group.state, group.image(index))
            yield (group.key, label.name, rounded(value), label.threshold, flag, *about)


def kaggle_rows(images: Iterable[ImageRow], labels: Sequence[TableLabel]) -> Iterator[Row]:
    """Rows of `kaggle.csv`, in the format of the RSNA 2019 challenge: one per image and label."""
    yield ("ID", "Label")
    for row in images:
        if row.state == "counted":
            name = row.sop if row.sop.startswith("ID_") else f"ID_{row.sop}"
            frame = f"_{row.frame}" if (row.frames or 1) > 1 else ""
            for label, value in zip(labels, row.probabilities, strict=False):
                yield (f"{name}{frame}_{label.name}", rounded(value))
