"""The choice of images to explain, and of the label that each is explained for."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby

from itk_infer.classify.saliency.settings import check_label
from itk_infer.classify.tables.source import ImageRow, ResultsSource, TableLabel
from itk_infer.classify.units import natural


def explained_label(labels: Sequence[TableLabel], probabilities: Sequence[float]) -> int:
    """Index of the label to explain: the most probable of the positive ones, or of all if none is positive.

    A label that includes others ("any") is chosen only if none of them is positive, as it is always most probable.
    """
    parents = {label.parent for label in labels if label.parent}

    def rank(index: int) -> tuple[bool, bool, float]:
        label, probability = labels[index], probabilities[index]
        return probability >= label.threshold, label.name not in parents, probability

    return max(range(len(labels)), key=rank)


def select(source: ResultsSource, wanted: str, label: str | None = None) -> dict[int, int]:
    """Choose the images to explain.

    Args:
        source: The results.
        wanted: See `SaliencySettings`; a number: per study, so many images with the highest probabilities.
        label: Name of the label to explain; None: see `explained_label`.

    Raises:
        ConfigError: the model has no such label.
    """
    labels, chosen = source.labels, dict[int, int]()
    names = [one.name for one in labels]
    check_label(label, names)
    most: dict[str, list[tuple[float, int, int]]] = defaultdict(list)
    for row in source.images():
        if row.state != "counted" or not row.probabilities:
            continue
        index = explained_label(labels, row.probabilities) if label is None else names.index(label)
        probability = row.probabilities[index]
        if wanted.isdigit():
            best = most[row.study]
            heapq.heappush(best, (probability, -row.id, index))
            if len(best) > int(wanted):
                heapq.heappop(best)
        elif wanted == "all" or probability >= labels[index].threshold:
            chosen[row.id] = index
    return chosen | {-number: index for best in most.values() for _, number, index in best}


def sequences(source: ResultsSource) -> Iterator[list[ImageRow]]:
    """Yield counted images in lists of those that share inputs, in their order.

    A list holds the frames of a file, or the files of a series: by position, or by path if a position is missing.
    """

    def together(row: ImageRow) -> tuple[str, str]:
        if (row.frames or 1) > 1 or row.series is None:
            return "file", row.path
        return "series", row.series

    def flush(series: list[ImageRow]) -> list[ImageRow]:
        if all(row.position is not None for row in series):
            return sorted(series, key=lambda row: (row.position, row.sop, row.frame))
        return sorted(series, key=lambda row: (natural(row.path), row.frame))

    # Files of one series may have frames, so images are grouped by series before they are split.
    for _, rows in groupby(source.images_by_series(), key=lambda row: row.series or row.study):
        found: dict[tuple[str, str], list[ImageRow]] = defaultdict(list)
        for row in rows:
            found[together(row)].append(row)
        yield from map(flush, found.values())
