"""Summaries of images per study, series, patient or folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from itk_infer.classify.tables.source import FileRow, ImageRow, TableLabel
from itk_infer.classify.tables.study_rule import Sum


@dataclass(slots=True)
class Group:
    """The images of one study, series, patient or folder.

    Attributes:
        key: Identifier of the group.
        images: Number of counted images with a prediction.
        failed: Number of files that could not be read.
        copies: Number of images that are copies of counted ones.
        conflicts: Number of images that share their identifier with a different picture; they are not counted.
        sums: Per label, its `Sum`.
        best: Per label, the largest probability, and path and frame of the image that has it.
    """

    key: str
    sums: tuple[Sum, ...]
    best: list[tuple[float, str, int]]
    images: int = 0
    failed: int = 0
    copies: int = 0
    conflicts: int = 0

    @property
    def state(self) -> str:
        """Whether all, some or none of its files were read; ``empty`` if it has no counted image."""
        if not self.images:
            return "failed" if self.failed else "empty"
        return "partly failed" if self.failed else "done"

    def values(self) -> tuple[float | None, ...]:
        """Probability per label; None if there is no image."""
        return tuple(item.result() if self.images else None for item in self.sums)

    def positives(self, labels: Sequence[TableLabel]) -> tuple[str, ...]:
        """Names of the labels whose threshold is reached."""
        pairs = zip(labels, self.values(), strict=True)
        return tuple(label.name for label, value in pairs if value is not None and value >= label.threshold)

    def image(self, label: int) -> str:
        """Path of the image with the largest probability, with its frame number unless that is 0."""
        _, path, frame = self.best[label]
        return f"{path} [frame {frame}]" if frame else path


@dataclass(slots=True)
class Groups:
    """All groups; images are added in the order of their paths.

    Attributes:
        by: ``study``, ``series``, ``patient`` or ``folder``.
        labels: Labels of the model.
        rule: Returns a new `Sum`.
        found: Groups by key.
        states: Number of images per state.
        other: Number of files without images per state.
    """

    by: str
    labels: Sequence[TableLabel]
    rule: Callable[[], Sum]
    found: dict[str, Group] = field(default_factory=dict)
    states: Counter[str] = field(default_factory=Counter)
    other: Counter[str] = field(default_factory=Counter)

    def add_image(self, row: ImageRow) -> None:
        """Add an image; it is counted only if it has a prediction of the current model."""
        group = self._group(row.group(self.by))
        if row.state != "counted":
            group.copies += row.state == "copy"
            group.conflicts += row.state == "conflict"
            self.states[row.state] += 1
            return
        if not row.probabilities:
            self.states["without prediction"] += 1
            return
        self.states["counted"] += 1
        group.images += 1
        for index, value in enumerate(row.probabilities):
            group.sums[index].add(value)
            if value > group.best[index][0]:  # of equal values, the image with the first path is kept
                group.best[index] = value, row.path, row.frame

    def add_file(self, row: FileRow) -> None:
        """Add a file without images. A failed file makes a row for its study, even if it is the only file."""
        self.other[row.state] += 1
        if row.state == "failed":
            self._group(row.group(self.by)).failed += 1

    def sorted(self) -> list[Group]:
        """The groups, sorted by key."""
        return [self.found[key] for key in sorted(self.found)]

    def _group(self, key: str) -> Group:
        group = self.found.get(key)
        if group is None:
            count = len(self.labels)
            sums, best = tuple(self.rule() for _ in range(count)), [(-1.0, "", 0)] * count
            group = self.found[key] = Group(key, sums, best)
        return group
