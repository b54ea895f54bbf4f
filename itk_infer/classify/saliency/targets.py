"""Which images are explained, and for which of their labels."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby

from itk_infer.classify.saliency.settings import check_label
from itk_infer.classify.tables.source import ImageRow, ResultsSource, TableLabel
from itk_infer.classify.units import natural


def explained_label(labels: Sequence[TableLabel], probabilities: Sequence[float]) -> int:
    """The label whose logit is explained: the most probable of the positive ones, else of all.

    A label that others are cases of ("any") is taken only if none of them is positive: it would always win.
    """
    parents = {label.parent for label in labels if label.parent}

    def rank(index: int) -> tuple[bool, bool, float]:
        label, probability = labels[index], probabilities[index]
        return probability >= label.threshold, label.name not in parents, probability

    return max(range(len(labels)), key=rank)


def select(source: ResultsSource, wanted: str, label: str | None = None) -> dict[int, int]:
    """Images to explain, with the index of the label.

    Args:
        source: The results.
        wanted: See `SaliencySettings`; a number: the images of each study with the most probable labels.
        label: Name of the one to explain; None: see `explained_label`.

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
    """Counted images, with those that a model sees together in one list, in their order.

    They are the frames of a file, or the files of a series: by position, or by path where one has none.
    """

    def together(row: ImageRow) -> tuple[str, str]:
        if (row.frames or 1) > 1 or row.series is None:
            return "file", row.path
        return "series", row.series

    def flush(series: list[ImageRow]) -> list[ImageRow]:
        if all(row.position is not None for row in series):
            return sorted(series, key=lambda row: (row.position, row.sop, row.frame))
        return sorted(series, key=lambda row: (natural(row.path), row.frame))

    # Rows of one series come together, those of its files with frames among them.
    for _, rows in groupby(source.images_by_series(), key=lambda row: row.series or row.study):
        found: dict[tuple[str, str], list[ImageRow]] = defaultdict(list)
        for row in rows:
            found[together(row)].append(row)
        yield from map(flush, found.values())
